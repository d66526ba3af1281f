"""Values that must not survive, by kind, each as it stands in a sentence; and sentences in which nothing is private."""

from __future__ import annotations

from typing import Final

KEY = "sk-proj-" + "a1B2" * 10
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAK\n-----END RSA PRIVATE KEY-----"

PRIVATE: Final[list[tuple[str, str, str]]] = [
    ("EMAIL", "jane.doe+x@mail.example.com", "{}"),
    ("EMAIL", "jürgen@bücher.example", "{}"),
    ("EMAIL", "O.Neil@example.co.uk", "mailto:{}"),
    ("PHONE", "+1 415 555 0132", "{}"),
    ("PHONE", "+49 (0)30 1234567", "{}"),
    ("PHONE", "0049 30 1234567", "{}"),
    ("PHONE", "(415) 555-0132", "{}"),
    ("PHONE", "415-555-0132", "{}"),
    ("PHONE", "020 7946 0958", "{}"),
    ("PHONE", "06 12 34 56 78", "{}"),
    ("PHONE", "030/1234567", "{}"),
    ("PHONE", "5551234567", "phone: {}"),
    ("PHONE", "555 1234", "my phone number is {}"),
    ("CREDIT_CARD", "4111 1111 1111 1111", "{}"),
    ("CREDIT_CARD", "5500-0000-0000-0004", "{}"),
    ("CREDIT_CARD", "378282246310005", "{}"),
    ("IBAN", "DE89 3704 0044 0532 0130 00", "{}"),
    ("IBAN", "GB82WEST12345698765432", "{}"),
    ("US_SSN", "123-45-6789", "{}"),
    ("NATIONAL_ID", "123456789", "SSN {}"),
    ("NATIONAL_ID", "C01X00T47", "passport number: {}"),
    ("NATIONAL_ID", "12345678Z", "{}"),
    ("NATIONAL_ID", "X1234567L", "{}"),
    ("NATIONAL_ID", "RCCMNL83S18D969H", "{}"),
    ("NATIONAL_ID", "390.533.447-05", "{}"),
    ("NATIONAL_ID", "AB 12 34 56 C", "{}"),
    ("NATIONAL_ID", "2 95 10 99 126 111 93", "{}"),
    ("NATIONAL_ID", "2341 2341 2346", "{}"),
    ("NATIONAL_ID", "ACUPA7085R", "{}"),
    ("NATIONAL_ID", "123-456-782", "{}"),
    ("NATIONAL_ID", "943 476 5919", "NHS {}"),
    ("IP_ADDRESS", "203.0.113.7", "{}"),
    ("IP_ADDRESS", "2001:db8::8a2e:370:7334", "{}"),
    ("IP_ADDRESS", "fe80::1", "{}"),
    ("IP_ADDRESS", "::ffff:203.0.113.7", "{}"),
    ("MAC_ADDRESS", "00:1A:2b:3C:4d:5E", "{}"),
    ("CRYPTO_WALLET", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "{}"),
    ("CRYPTO_WALLET", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "{}"),
    ("CRYPTO_WALLET", "0x52908400098527886E0F7030069857D2E4169EE7", "{}"),
    ("PRIVATE_KEY", PEM, "{}"),
    ("JWT", JWT, "{}"),
    ("API_KEY", KEY, "{}"),
    ("API_KEY", "sk-ant-api03-" + "x" * 40, "{}"),
    ("API_KEY", "AKIAIOSFODNN7EXAMPLE", "{}"),
    ("API_KEY", "ghp_" + "a" * 36, "{}"),
    ("API_KEY", "xoxb-123456789012-abcdefghij", "{}"),
    ("API_KEY", "AIza" + "a" * 35, "{}"),
    ("API_KEY", "sk_live_" + "a" * 24, "{}"),
    ("API_KEY", "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1", "{}"),
    ("API_KEY", "0123456789abcdef0123456789abcdef-us12", "{}"),
    ("API_KEY", "MTk4NjIyNDgzNDcxOTI1MjQ4.Cl2FMQ.ZnCjm1XVW7vRze4b7Cq4se7kKWs", "{}"),
    ("API_KEY", "sq0csp-" + "a1" * 20, "{}"),
    ("CREDENTIALS", "abc123def456ghi", "Authorization: Bearer {}"),
    ("CREDENTIALS", "dXNlcjpwYXNzd29yZA==", "authorization: basic {}"),
    ("CREDENTIALS", "app:hunter2", "postgres://{}@db/x"),
    ("CREDENTIALS", "u:p%40ss", "https://{}@host/x"),
    ("SECRET", "hunter2!", "password = {}"),
    ("SECRET", "correcthorse", "password: {}"),
    ("SECRET", "hunter2", "my password is {}"),
    ("SECRET", "abcdef12345", 'client_secret: "{}"'),
    ("SECRET", "abcdef1234567", "https://example.com/a.png?sig={}"),
    ("SECRET", "123", "CVV {}"),
]
"""(kind, value, the sentence that it stands in)."""

CLEAN: Final = """
The parcel left on 2026-03-12 at 09:41:07 and took 3 days.
Version 1.2.3.4 follows 1.2.3 and v2.0.0-rc.1+build.5 follows that.
Order 4711-0815 was paid with 3 × 19.99 EUR, that is 59.97 EUR.
ISBN 978-3-16-148410-0 and ISBN 0-306-40615-2 are the same price.
Commit 4565a70b1fadffc72da5fb1684bf6f3ee2ea7f4e broke the build.
Its id is 01a20649-6d60-734f-8ef6-134652097c78.
sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 is the hash of nothing.
The answer is 42, or 0x2A, or 0b101010.
Pi is 3.14159265358979 and c is 299792458 m/s.
It was 1,234,567.89 USD in 2024 and 1.234.567,89 EUR in 2025.
Timestamps are 1700000000, 1700000000000 and 1700000000000000000.
The password is long enough, and so is the passphrase.
def check(password: str, api_key: str | None = None) -> bool: ...
password = os.environ["PASSWORD"]
client = Client(api_key=settings.api_key, token=get_token())
secret: env:OPENAI_API_KEY
password: ${DB_PASSWORD}
const password = process.env.DB_PASSWORD;
Set api_key=<your-key-here> in the file.
std::vector<int> a; a::b; Foo::Bar; for (auto x : xs) {}
127.0.0.1 and ::1 and 0.0.0.0 are this machine.
The bus leaves at 12:30, 12:45 and 13:00 from bay 7.
Section 3.2.1 refers to RFC 9110, RFC 3339 and ISO 8601.
basic authentication and bearer capabilities are words.
Room 101-102, floors 1-3, seats 12A-14F.
Flight LH 1234 from FRA to JFK at gate B42.
A4 is 210 x 297 mm, 8.27 x 11.69 in.
The coordinates are 52.5200, 13.4050.
Model gpt-5-mini-2026-08-07 costs 0.25 per million.
chatcmpl-AbC123dEf456 and resp_0a1b2c3d4e5f are ids.
SELECT count() FROM t WHERE id = 1234567890 AND day >= '2026-01-01'
git clone https://github.com/example/project.git && cd project
@decorator and @media (min-width: 600px) are not addresses.
Tag me @jane or #general, not e-mail.
x = a@b is a matrix product in Python.
Numbers: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16.
Call me on Monday, or at 9 on Tuesday.
The phone is broken since 2026-03-12.
Phone: see the back of the card.
His mobile broke after 3 years and 120 days.
The cell at B12 holds 1500 and C12 holds 2500.
My tax ID is lost and so is my passport.
DE89370400440532013001 has wrong check digits.
1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb has a wrong checksum, so it is no wallet.
4111 1111 1111 1112 fails Luhn, and so does 1234567890123456.
000-12-3456 and 666-12-3456 were never given out.
Part number AB-123456-X, serial 12345678A, lot 2026031201.
rgb(255, 128, 0) is #FF8000, and #ff8000cc has alpha.
a:b:c and 10:20:30 and 1:2 odds are not addresses.
The score was 3-1, then 21-19, 19-21, 15-12.
It takes 15-20 minutes at 180 °C (350 °F).
The matrix [[1, 2], [3, 4]] has determinant -2.
Use ports 8080, 8123 and 4317; not 65535.
Windows has C:\\Users\\Public\\new\\temp and \\\\server\\share.
The regex ^\\d{3}-\\d{2}$ matches 123-45.
Tracking number 1Z999AA10123456784 is with the carrier.
SKU 00012345678905 is an EAN-14.
UTC+02:00 and GMT-5 are offsets.
Q3 2026 grew by 12.5 % over Q3 2025 (Q2: 11.0 %).
Invoice INV-2026-000123 of 01.02.2026 is due on 15/03/2026.
Use 100% of it & nothing else; 50%20 is not 70.
print(f"{total:,.2f}") gives 1,234.50
0 errors, 12 warnings in 3.45s
The pin is bent and the pin 13 is the LED.
The PIN is four digits long.
Kernel 6.1.0-18-amd64, glibc 2.36, gcc 12.2.0.
The ratio 16:9 is 1.7778, and 4:3 is 1.3333.
He was born in 1984 and is 42 now.
ZIP 94107 is in San Francisco, 10115 in Berlin.
The lottery numbers were 4, 8, 15, 16, 23 and 42.
Chapter 12 has 345 pages, chapter 13 has 12.
""".strip().split("\n")
"""Seventy-one, and what `grown` makes of them."""


def grown() -> list[str]:
    """Some 350 ordinary sentences: these with other numbers in them."""
    found = list(CLEAN)
    for turn in range(1, 5):
        for sentence in CLEAN:
            found.append(_turned(sentence, turn))
    return found


def _turned(sentence: str, turn: int) -> str:
    """Other digits, where that does not make a date, a check digit or an address of it that it was not."""
    if any(mark in sentence for mark in ("127.0.0.1", "fails Luhn", "never given", "check digits", "RFC", "0x2A")):
        return sentence + f" That is note {turn}."
    return "".join(str((int(c) + turn) % 10) if c.isdigit() else c for c in sentence)
