"""The functions that `--where` may call, in lower case: each looks at its arguments alone, and is a function of them.

Not here: what reads tables, dictionaries, files, hosts, settings or the server's state; what has another answer each
time; what changes the number of rows (`arrayJoin`, aggregates, window functions); what only costs time.
"""

from __future__ import annotations

from typing import Final

_OPERATORS: Final = """
identity and or xor not if multiif casewithexpression equals notequals less greater lessorequals greaterorequals
isnull isnotnull isnotdistinctfrom isdistinctfrom in notin nullin notnullin like notlike ilike notilike plus minus
multiply divide intdiv modulo negate concat tuple tupleelement array arrayelement lambda cast map between
"""

_CONDITIONS: Final = """
ifnull nullif coalesce assumenotnull tonullable isnan isfinite isinfinite iszeroornull greatest least
"""

_CONVERSIONS: Final = """
tostring toint8 toint16 toint32 toint64 touint8 touint16 touint32 touint64 tofloat32 tofloat64 tobool
toint8orzero toint16orzero toint32orzero toint64orzero touint8orzero touint16orzero touint32orzero touint64orzero
tofloat32orzero tofloat64orzero toint8ornull toint16ornull toint32ornull toint64ornull touint8ornull touint16ornull
touint32ornull touint64ornull tofloat32ornull tofloat64ornull accuratecast accuratecastornull todate todate32
todatetime todatetime64 todateornull todatetimeornull todatetime64ornull todateorzero todatetimeorzero
parsedatetimebesteffort parsedatetimebesteffortornull parsedatetime64besteffort parsedatetime64besteffortornull
"""

_TEXTS: Final = """
length lengthutf8 char_length character_length octet_length empty notempty lower upper lowerutf8 upperutf8 reverse
reverseutf8 substring substr mid substringutf8 left right leftutf8 rightutf8 trim ltrim rtrim trimboth trimleft
trimright startswith endswith startswithutf8 endswithutf8 position locate positioncaseinsensitive positionutf8
positioncaseinsensitiveutf8 multisearchany multisearchanycaseinsensitive multisearchanyutf8
multisearchanycaseinsensitiveutf8 multisearchfirstindex multisearchfirstposition multimatchany match extract extractall
replaceall replaceone replace replaceregexpone replaceregexpall regexp_replace countsubstrings
countsubstringscaseinsensitive countmatches hastoken hastokencaseinsensitive splitbychar splitbystring
splitbywhitespace splitbynonalpha splitbyregexp tokens ngrams ngramdistance ngramsearch concatwithseparator concat_ws
isvalidutf8 tovalidutf8 base64decode trybase64decode hex
"""

_TIMES: Final = """
toyear toquarter tomonth toweek toisoweek todayofyear todayofmonth todayofweek tohour tominute tosecond
tounixtimestamp tounixtimestamp64milli tounixtimestamp64micro tounixtimestamp64nano fromunixtimestamp
fromunixtimestamp64milli fromunixtimestamp64micro fromunixtimestamp64nano tostartofyear tostartofquarter
tostartofmonth tostartofweek tostartofday tostartofhour tostartofminute tostartofsecond tostartoffiveminutes
tostartoftenminutes tostartoffifteenminutes tostartofinterval tomonday toyyyymm toyyyymmdd toyyyymmddhhmmss
totimezone datediff date_diff datetrunc date_trunc dateadd datesub date_add date_sub adddays subtractdays addhours
subtracthours addminutes subtractminutes addseconds subtractseconds addweeks subtractweeks addmonths subtractmonths
tointervalsecond tointervalminute tointervalhour tointervalday tointervalweek tointervalmonth tointervalyear
formatdatetime
"""

_COLLECTIONS: Final = """
has hasall hasany hassubstr indexof countequal arrayexists arrayall arraycount arrayfirst arrayfirstindex arraylast
arrayfilter arraymap arraysum arrayavg arraymin arraymax arraysort arrayreverse arraydistinct arrayuniq arrayconcat
arraystringconcat arrayslice arrayintersect arrayenumerate range mapcontains mapcontainskey mapcontainsvalue mapkeys
mapvalues mapfilter mapapply mapexists mapall mapcontainskeylike
"""

_DOCUMENTS: Final = """
jsonextractstring jsonextractint jsonextractuint jsonextractfloat jsonextractbool jsonextractraw jsonextract
jsonextractarrayraw jsonextractkeys jsonextractkeysandvalues jsonhas jsonlength jsontype json_value json_query
json_exists isvalidjson simplejsonhas simplejsonextractstring simplejsonextractint simplejsonextractfloat
simplejsonextractbool simplejsonextractraw visitparamhas visitparamextractstring
"""

_NUMBERS: Final = """
abs sign round floor ceil ceiling trunc truncate sqrt exp log ln log2 log10 pow power intdivorzero moduloorzero
positivemodulo bitand bitor bitxor bitnot bittest
"""

_HASHES: Final = "cityhash64 siphash64 xxhash32 xxhash64 farmhash64 md5 sha1 sha256 crc32"

FUNCTIONS: Final = frozenset(
    " ".join(
        (_OPERATORS, _CONDITIONS, _CONVERSIONS, _TEXTS, _TIMES, _COLLECTIONS, _DOCUMENTS, _NUMBERS, _HASHES)
    ).split()
)
