"""Exceptions that carry people's data, and exceptions that carry none, raised by real code.

A *case* is an exception as a job would raise it and the personal values in it. Some sentences are
written where they are raised, as in a user's code; others come ready-made from elsewhere, so that
no code along the traceback contains them, as with a database's messages.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

from faker import Faker
from support import corpus_raisers as raisers

LOCALES = [
    "no_NO", "sv_SE", "da_DK", "fi_FI", "en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "it_IT",
    "nl_NL", "pl_PL", "pt_BR", "tr_TR", "ja_JP", "zh_CN", "ko_KR", "ru_RU", "ar_AA", "el_GR",
]  # fmt: skip
FRESH_LOCALES = [
    "hu_HU", "cs_CZ", "sk_SK", "sl_SI", "ro_RO", "hr_HR", "bg_BG", "uk_UA", "lt_LT", "lv_LV",
    "et_EE", "he_IL", "th_TH", "vi_VN", "id_ID", "hi_IN", "fa_IR", "ka_GE", "en_IN", "en_NZ",
    "en_AU", "en_CA", "fr_CA", "pt_PT", "es_MX", "ga_IE", "de_CH", "nl_BE", "zh_TW", "az_AZ",
    "zu_ZA", "tw_GH", "yo_NG", "fr_DZ", "en_TH", "tl_PH",
]  # fmt: skip

_FIRST, _LAST = (
    line.split()
    for line in Path(__file__).with_name("names_that_are_words.txt").read_text("utf-8").splitlines()
    if not line.startswith("#")
)


@dataclass
class Case:
    """An exception, what it says, and the personal values in it."""

    error: BaseException
    text: str
    values: list[str] = field(default_factory=list)
    form: str = ""


def personal(seed, locales=LOCALES, each=2):
    """Cases with generated people: every way of raising in every locale, any kind of value."""
    for locale in locales:
        faker = Faker(locale)
        faker.seed_instance(f"{seed}-{locale}")
        dice = random.Random(f"{seed}-{locale}")
        for raiser in raisers.ALL:
            for _ in range(each):
                values = [make(faker, dice) for make in dice.sample(VALUES, 2)]
                yield from raised(raiser, values)


def adversarial(seed, each=12):
    """Cases with names that are words, as they stand, in capitals and in small letters."""
    dice = random.Random(f"{seed}-words")
    for raiser in raisers.ALL:
        for _ in range(each):
            names = [
                " ".join(dice.choice([[first], [first, last], [last], [first, last]]))
                for first, last in zip(
                    dice.choices(_FIRST, k=2), dice.choices(_LAST, k=2), strict=True
                )
            ]
            shape = dice.choice([str, str, str, str, str.upper, str.lower])
            yield from raised(raiser, [shape(name) for name in names])


def raised(raiser, values):
    """The case that a way of raising makes of the values, if any of them is in it."""
    try:
        raiser(*values)
    except BaseException as error:  # noqa: BLE001
        carried = [value for value in values if value in raisers.everything_said(error)]
        if carried:
            yield Case(error, raisers.everything_said(error), carried, raiser.__name__)


def _value(name):
    def make(faker, dice):
        try:
            found = str(getattr(faker, name)())
        except AttributeError:
            found = faker.name()
        return found.replace("\n", dice.choice([", ", "\n", " "]))

    make.__name__ = name
    return make


def _path(faker, dice):
    return f"/home/{faker.user_name()}/{faker.first_name()}.csv"


def _handle(faker, dice):
    return f"{faker.user_name()}{dice.randint(1, 99)}"


def _plain_handle(faker, dice):
    return faker.user_name()


def _surname_first(faker, dice):
    return f"{faker.last_name()}, {faker.first_name()}"


def _shout(faker, dice):
    return faker.name().upper()


def _birth(faker, dice):
    born = faker.date_of_birth()
    return dice.choice([born.isoformat(), born.strftime("%d.%m.%Y"), born.strftime("%m/%d/%Y")])


def _identity(faker, dice):
    return f"{dice.randrange(10**6):06d}{dice.randrange(10**5):05d}"


def _token(faker, dice):
    return dice.choice(["sk_live_", "ghp_", "xoxb-", ""]) + faker.password(24, special_chars=False)


_NAMES = ["name", "name", "first_name", "last_name", "company", "user_name"]
_PLACES = ["address", "street_address", "city", "postcode", "license_plate"]
_NUMBERS = ["phone_number", "ssn", "iban", "credit_card_number", "ipv4", "ipv6", "mac_address"]
_ONLINE = ["email", "email", "free_email", "url"]
VALUES = [
    *map(_value, [*_NAMES, *_PLACES, *_NUMBERS, *_ONLINE]),
    *(_path, _handle, _plain_handle, _surname_first, _shout, _birth, _identity, _token),
]
