"""Units of measure: their spellings, and how a value changes between them."""

from __future__ import annotations

from fractions import Fraction

from uec_vlm.verifier.lexer import Token

# base unit -> (dimension, size in the reference unit of the dimension)
UNITS: dict[str, tuple[str, Fraction]] = {
    "mm": ("length", Fraction(1, 1000)),
    "cm": ("length", Fraction(1, 100)),
    "dm": ("length", Fraction(1, 10)),
    "m": ("length", Fraction(1)),
    "km": ("length", Fraction(1000)),
    "um": ("length", Fraction(1, 10**6)),
    "nm": ("length", Fraction(1, 10**9)),
    "in": ("length", Fraction(254, 10000)),
    "ft": ("length", Fraction(3048, 10000)),
    "yd": ("length", Fraction(9144, 10000)),
    "mi": ("length", Fraction(1609344, 1000)),
    "unit": ("any length", Fraction(1)),
    "deg": ("angle", Fraction(1)),
    "arcmin": ("angle", Fraction(1, 60)),
    "arcsec": ("angle", Fraction(1, 3600)),
    "rad": ("radian", Fraction(1)),
    "l": ("volume", Fraction(1, 1000)),
    "ml": ("volume", Fraction(1, 10**6)),
    "gal": ("gallon", Fraction(1)),
    "g": ("mass", Fraction(1, 1000)),
    "kg": ("mass", Fraction(1)),
    "mg": ("mass", Fraction(1, 10**6)),
    "t": ("mass", Fraction(1000)),
    "lb": ("mass", Fraction(45359237, 10**8)),
    "oz": ("mass", Fraction(45359237, 16 * 10**8)),
    "s": ("time", Fraction(1)),
    "ms": ("time", Fraction(1, 1000)),
    "min": ("time", Fraction(60)),
    "h": ("time", Fraction(3600)),
    "day": ("time", Fraction(86400)),
    "week": ("time", Fraction(7 * 86400)),
    "month": ("month", Fraction(1)),
    "year": ("month", Fraction(12)),
    "usd": ("usd", Fraction(1)),
    "cent": ("usd", Fraction(1, 100)),
    "eur": ("eur", Fraction(1)),
    "gbp": ("gbp", Fraction(1)),
    "yuan": ("yuan", Fraction(1)),
    "rupee": ("rupee", Fraction(1)),
    "celsius": ("celsius", Fraction(1)),
    "n": ("newton", Fraction(1)),
    "j": ("joule", Fraction(1)),
    "w": ("watt", Fraction(1)),
    "ha": ("hectare", Fraction(10000)),
    "acre": ("acre", Fraction(1)),
    "pct": ("pct", Fraction(1)),
    "thing": ("thing", Fraction(1)),
}

_SPELLINGS = {
    "mm": "mm millimeter millimeters millimetre millimetres 毫米",
    "cm": "cm cms centimeter centimeters centimetre centimetres 厘米 公分",
    "dm": "dm decimeter decimeters decimetre decimetres 分米",
    "m": "meter meters metre metres mtr 米 公尺",
    "km": "km kms kilometer kilometers kilometre kilometres 千米 公里",
    "um": "micrometer micrometers",
    "nm": "nm nanometer nanometers",
    "in": "in inch inches ins 英寸",
    "ft": "ft foot feet 英尺",
    "yd": "yd yds yard yards",
    "mi": "mi mile miles",
    "unit": "unit units u 单位",
    "deg": "deg degs degree degrees degress 度",
    "arcmin": "arcminute arcminutes",
    "arcsec": "arcsecond arcseconds",
    "rad": "rad rads radian radians 弧度",
    "l": "l liter liters litre litres 升",
    "ml": "ml milliliter milliliters millilitre millilitres cc 毫升",
    "gal": "gal gallon gallons",
    "g": "gram grams 克",
    "kg": "kg kgs kilogram kilograms 千克 公斤",
    "mg": "mg milligram milligrams",
    "t": "ton tons tonne tonnes 吨",
    "lb": "lb lbs pound pounds",
    "oz": "oz ounce ounces",
    "s": "sec secs second seconds 秒",
    "ms": "ms millisecond milliseconds",
    "min": "min mins minute minutes 分钟",
    "h": "hr hrs hour hours 小时",
    "day": "day days 天",
    "week": "week weeks",
    "month": "month months",
    "year": "year years yr yrs 年",
    "usd": "usd dollar dollars 美元",
    "cent": "cent cents",
    "eur": "eur euro euros €",
    "gbp": "gbp £",
    "yuan": "yuan rmb cny 元 ¥",
    "rupee": "rupee rupees rs ₹",
    "celsius": "celsius",
    "n": "newton newtons",
    "j": "joule joules",
    "w": "watt watts",
    "ha": "ha hectare hectares",
    "acre": "acre acres",
    "pct": "percent pct percentage percents",
    "thing": "sides side vertices edges diagonals points students people person persons times ways triangles squares "
    "circles angles cubes boxes balls apples tiles books cookies marbles coins houses cars plants trees integers "
    "numbers solutions values pairs sets groups rows faces teams games members children men women boys girls tickets "
    "pages bricks steps terms digits lines segments regions rectangles polygons 个 条 边",
}  # fmt: skip
_SINGLE = {
    "m": "m",
    "s": "s",
    "g": "g",
    "h": "h",
    "L": "l",
    "l": "l",
    "u": "unit",
    "N": "n",
    "J": "j",
    "W": "w",
    "t": "t",
}
_COMBINED = {
    "平方厘米": "cm^2", "平方公分": "cm^2", "平方米": "m^2", "平方毫米": "mm^2", "平方千米": "km^2", "平方公里": "km^2",
    "平方分米": "dm^2", "立方厘米": "cm^3", "立方米": "m^3", "立方分米": "dm^3", "sqft": "ft^2", "sqin": "in^2",
    "sqcm": "cm^2", "sqm": "m^2", "mph": "mi h^-1", "kph": "km h^-1", "kmh": "km h^-1",
}  # fmt: skip
NAMES: dict[str, str] = {word: unit for unit, words in _SPELLINGS.items() for word in words.split()}
_POWERS = {"square": 2, "sq": 2, "squared": 2, "cubic": 3, "cubed": 3, "cu": 3}

Unit = tuple[tuple[str, int], ...]


def spell(unit: Unit) -> str:
    """The canonical spelling, e.g. `cm^2` or `km h^-1`."""
    return " ".join(name if power == 1 else f"{name}^{power}" for name, power in unit)


def unit_of(row: list[Token], *, single_letters: bool) -> str | None:
    """The unit that a whole token row spells, or None. single_letters: `m` and the like count outside `\\text{}`."""
    powers: dict[str, int] = {}
    at, sign, pending = 0, 1, 1
    while at < len(row):
        token = row[at]
        at += 1
        word = token.text.casefold() if token.kind == "word" else ""
        if word in _POWERS and (at < len(row) or powers):
            if word.endswith("ed") and powers:
                powers[next(reversed(powers))] *= _POWERS[word]
            else:
                pending = _POWERS[word]
        elif token.text == "/" or word == "per":
            sign = -1
        elif token.text not in (".", "cdot", "*") or not (powers or pending != 1):
            name = _name(token, single_letters)
            if name is None:
                return None
            at, power = _power_behind(row, at)
            for base, exponent in parse_spelled(name):
                powers[base] = powers.get(base, 0) + sign * pending * power * exponent
            pending = 1
    if not powers or pending != 1 or (len(powers) > 1 and "thing" in powers):
        return None
    return "thing" if "thing" in powers else spell(tuple(sorted(powers.items())))


def _name(token: Token, single_letters: bool) -> str | None:
    text = token.text
    if token.kind == "word":
        if len(text) == 1 and text.isascii():
            return _SINGLE.get(text) if (single_letters or token.roman) else None
        return NAMES.get(text) or NAMES.get(text.casefold()) or _COMBINED.get(text.casefold())
    if token.kind == "op" and text in NAMES:
        return NAMES[text]
    return {"usd": "usd", "eur": "eur", "gbp": "gbp"}.get(text)


def _power_behind(row: list[Token], at: int) -> tuple[int, int]:
    """The exponent after a unit (`^2`, `^{2}`, a plain `2`): the place after it, and its value."""
    texts = [token.text for token in row[at : at + 4]]
    if texts[:1] in (["^"], ["**"]):
        if texts[1:2] == ["{"] and texts[3:4] == ["}"] and texts[2] in ("1", "2", "3"):
            return at + 4, int(texts[2])
        if texts[1:2] and texts[1] in ("2", "3"):
            return at + 2, int(texts[1])
    elif texts[:1] and texts[0] in ("2", "3") and row[at].kind == "num" and not row[at].space:
        return at + 1, int(texts[0])
    return at, 1


def parse_spelled(unit: str) -> Unit:
    """The inverse of `spell`."""
    parts = []
    for word in unit.split():
        name, _, power = word.partition("^")
        parts.append((name, int(power or 1)))
    return tuple(parts)


def conversion(source: str, target: str) -> Fraction | None:
    """The factor from one unit to another, 1 where one is a plain `unit`; None if they differ in kind."""
    if source == target:
        return Fraction(1)
    left, right = _dimension(parse_spelled(source)), _dimension(parse_spelled(target))
    generic = {"any length"}
    if {dim for dim, _ in left[0]} == generic or {dim for dim, _ in right[0]} == generic:
        powers = {power for _, power in left[0]} | {power for _, power in right[0]}
        kinds = {dim for dim, _ in left[0]} | {dim for dim, _ in right[0]}
        return Fraction(1) if len(powers) == 1 and kinds <= {"any length", "length"} else None
    if left[0] != right[0]:
        return None
    return left[1] / right[1]


def _dimension(unit: Unit) -> tuple[tuple[tuple[str, int], ...], Fraction]:
    """The dimension (with litres as cubed lengths) and the size of a unit."""
    dims: dict[str, int] = {}
    size = Fraction(1)
    for name, power in unit:
        dimension, scale = UNITS[name]
        if dimension == "volume":
            dims["length"] = dims.get("length", 0) + 3 * power
        elif dimension == "hectare":
            dims["length"] = dims.get("length", 0) + 2 * power
        else:
            dims[dimension] = dims.get(dimension, 0) + power
        size *= scale**power
    return tuple(sorted((dim, power) for dim, power in dims.items() if power)), size
