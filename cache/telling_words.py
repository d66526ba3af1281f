"""Words that tell two questions apart which otherwise say the same, for `guard`. English, and the commonest of others.

Words that mostly mean nothing of the kind (in, on, get, set, any, am) are left out: they would refuse too much.
"""

from __future__ import annotations

from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


NEGATIONS: Final = _words(
    """
    not no never none nothing nobody nowhere without except neither nor cannot cant dont doesnt didnt isnt arent
    wasnt werent wont wouldnt shouldnt couldnt hasnt havent hadnt unable t nicht kein keine keinen keinem keiner
    nie niemals ohne außer ne pas jamais aucun aucune sans sauf nunca ningún ninguna sin non mai senza não sem nem
    不 没 沒 無 无 未 别 ない 안 не нет без
    """
)
"""The t is that of "don't", which is a word of its own here."""

NUMERALS: Final = _words(
    """
    zero two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty sixty hundred
    thousand million billion half quarter twice double triple first second third fourth fifth last previous next
    daily weekly monthly yearly annual annually quarterly hourly null zwei drei vier fünf sechs sieben acht neun
    zehn hundert tausend erste zweite dritte letzte nächste deux trois quatre cinq sept huit neuf dix cent mille
    premier première dernier dernière prochain dos tres cuatro cinco seis siete ocho nueve diez cien mil primero
    primera segundo último última próximo
    """
)

TIMES: Final = _words(
    """
    today tomorrow yesterday tonight morning afternoon evening night noon midnight pm second seconds minute
    minutes hour hours day days week weeks month months year years decade century summer winter spring autumn
    monday tuesday wednesday thursday friday saturday sunday january february march april june july august
    september october november december heute morgen gestern aujourd hui demain hier hoy mañana ayer
    """
)

UNITS: Final = _words(
    """
    mm cm km inch inches foot feet yard yards mile miles meter meters metre metres kilometer kilometers kilometre
    kilometres mg g kg gram grams kilogram kilograms ounce ounces pound pounds lb lbs oz stone ton tons tonne
    tonnes ml liter liters litre litres gallon gallons cup cups teaspoon tablespoon celsius fahrenheit kelvin
    percent byte bytes kb mb gb tb kib mib gib bit bits watt watts volt volts amp amps mph kmh knots usd eur gbp
    jpy chf cny inr cad aud dollar dollars euro euros yen franc francs peso pesos rupee rupees
    """
)

OPPOSITES: Final = _words(
    """
    enable disable enabled disabled activate deactivate off up down increase decrease raise lower more less most
    least higher highest lowest max maximum min minimum before after above below over under inside outside open
    close opened closed start stop begin end buy sell borrow lend import export upload download encode decode
    encrypt decrypt compress decompress install uninstall add remove insert delete create destroy push pull send
    receive write win lose pass fail accept reject allow deny permit forbid grant revoke include exclude subscribe
    unsubscribe follow unfollow lock unlock block unblock hide show mute unmute connect disconnect mount unmount
    merge split ascending descending oldest newest older newer earliest latest early late fast slow faster slower
    fastest slowest big small bigger smaller biggest smallest large larger largest long short longer shorter
    longest shortest tall wide narrow deep shallow hot cold warm cool hotter colder warmer cooler cheap expensive
    cheaper cheapest best worst better worse good bad advantages disadvantages pros cons benefits drawbacks true
    false yes left right north south east west northern southern eastern western top bottom front back horizontal
    vertical rows row columns column male female man woman men women boy girl father mother son daughter brother
    sister husband wife king queen child adult children adults public private internal external incoming outgoing
    inbound outbound positive negative plus minus multiply divide sum difference even odd prime synchronous
    asynchronous static dynamic old new young safe unsafe safely legal illegal possible impossible healthy
    unhealthy always sometimes all only both breakfast lunch dinner vor nach mehr weniger öffnen schließen kaufen
    verkaufen aktivieren deaktivieren größte kleinste avant après moins ouvrir fermer acheter vendre activer
    désactiver antes después más menos abrir cerrar comprar vender activar desactivar
    """
)
"""Words that have an opposite, or a counterpart that is as near."""

TELLING: Final = NUMERALS | TIMES | UNITS | OPPOSITES
SINGULARS: Final = {word: word[:-1] for word in TIMES | UNITS if word.endswith("s") and word[:-1] in TIMES | UNITS}
"""Of units, which mean the same in both numbers."""
