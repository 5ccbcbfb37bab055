"""A made-up webshop: six files as real exports look, with a known number of mistakes in them.

The same seed gives the same bytes. Every name is invented and every address ends in a domain reserved for examples.
"""

from __future__ import annotations

import datetime as dt
import os
import random
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

# fmt: off
FIRST_NAMES = [
    "Anna", "Bram", "Chloé", "Daan", "Elise", "Fatima", "Gérard", "Hanne", "Ibrahim", "Jules", "Karel", "Lotte",
    "Marie", "Noor", "Oscar", "Paulien", "Quinten", "Renée", "Sofie", "Thomas", "Ugo", "Véronique", "Wout",
    "Xander", "Yasmina", "Zoë", "Amélie", "Björn", "Céline", "Dries", "Eleni", "François", "Greet", "Hüseyin",
    "Inès",
]
# fmt: on
# fmt: off
LAST_NAMES = [
    "Peeters", "Janssens", "Maes", "Jacobs", "Mertens", "Willems", "Claes", "Goossens", "Wouters", "Dubois",
    "Lambert", "Dupont", "Martin", "Simon", "Leclercq", "Lefèbvre", "Renard", "Noël", "Étienne", "Özdemir",
    "D'Hondt", "VandenBroeck", "O'Brien", "Müller", "Sørensen", "Nguyễn", "Kowalski",
]
# fmt: on
PLACES = {
    "1000": ("Bruxelles", "Bruxelles-Capitale"),
    "1348": ("Ottignies-Louvain-la-Neuve", "Brabant wallon"),
    "1420": ("Braine-l'Alleud", "Brabant wallon"),
    "2000": ("Antwerpen", "Antwerpen"),
    "2800": ("Mechelen", "Antwerpen"),
    "3000": ("Leuven", "Vlaams-Brabant"),
    "3500": ("Hasselt", "Limburg"),
    "4000": ("Liège", "Liège"),
    "4600": ("Visé", "Liège"),
    "5000": ("Namur", "Namur"),
    "6200": ("Châtelet", "Hainaut"),
    "6700": ("Arlon", "Luxembourg"),
    "7600": ("Péruwelz", "Hainaut"),
    "8000": ("Brugge", "West-Vlaanderen"),
    "8500": ("Kortrijk", "West-Vlaanderen"),
    "9000": ("Gent", "Oost-Vlaanderen"),
    "9300": ("Aalst", "Oost-Vlaanderen"),
}
CATEGORIES = ("garden", "kitchen", "books", "toys", "sport", "lighting", "bedding", "tools")
INTERESTS = ("gardening", "cooking", "reading", "cycling", "interior", "camping")
DOMAINS = ("example.org", "example.com", "example.net")
STATUSES = ("paid",) * 70 + ("shipped",) * 20 + ("cancelled",) * 6 + ("pending",) * 4
DAYS = (dt.datetime(2026, 11, 1), dt.datetime(2026, 11, 2))  # noqa: DTZ001 - local times, as a shop writes them
ORDER_HEADER = "order_id;customer_id;ordered_at;status;total;coupon"
CUSTOMER_HEADER = "customer_id;email;first_name;last_name;zip;phone;newsletter;personalisation;interests;company"
COMPANY_HEADER = "vat;name;sector;staff"
SECTORS = ("building", "care", "catering", "education", "retail")
COMPANIES = 120


@dataclass
class Shop:
    """What was generated, and how many mistakes were planted where.

    Attributes:
        folder: where the files lie.
        planted: mistake -> number of records.
    """

    folder: Path
    seed: int
    orders: int
    customers: int
    planted: dict[str, int] = field(default_factory=dict)


def amount(cents: int) -> str:
    """Cents as a Belgian amount: ``123456`` becomes ``1.234,56``."""
    return f"{cents // 100:,}".replace(",", ".") + f",{cents % 100:02d}"


def _email(rng: random.Random, first: str, last: str, number: int) -> str:
    parts = unicodedata.normalize("NFKD", f"{first}.{last}".replace("ø", "o"))
    plain = parts.encode("ascii", "ignore").decode().replace("'", "").lower()
    return f"{plain}{number}@{rng.choice(DOMAINS)}"


def _messy(rng: random.Random, email: str) -> str:
    """People type their address in capitals and with blanks around it."""
    chance = rng.random()
    if chance < 0.15:
        return email.title()
    if chance < 0.20:
        return email.upper()
    return f" {email} " if chance < 0.23 else email


def vat(number: int) -> str:
    """A made-up VAT number."""
    return f"BE0{700_000_000 + number * 7_919}"


def _company_rows(shop: Shop, rng: random.Random) -> list[str]:
    """Companies; one line lacks its number."""
    rows = [
        f"{vat(number)};{rng.choice(LAST_NAMES)} {rng.choice(('BV', 'NV', 'SA'))} {number};{rng.choice(SECTORS)};"
        f"{rng.randint(1, 400)}"
        for number in range(1, COMPANIES + 1)
    ]
    shop.planted["companies without a number"] = 1
    return [*rows, ";Nameless NV;retail;3"]


def _customer_rows(shop: Shop, rng: random.Random) -> list[str]:
    rows = []
    empty = shop.customers // 60
    invalid = shop.customers // 400
    for number in range(1, shop.customers + 1):
        first, last = rng.choice(FIRST_NAMES), rng.choice(LAST_NAMES)
        email = _messy(rng, _email(rng, first, last, number))
        if number <= empty:
            email = ""
        elif number <= empty + invalid:
            email = email.replace("@", " at ")
        zip_code = rng.choice(list(PLACES)) if rng.random() > 0.02 else "9999"
        phone = f"04{rng.randint(70, 99)} {rng.randint(10, 99)} {rng.randint(10, 99)} {rng.randint(10, 99)}"
        newsletter = rng.choices(("yes", "no", ""), (55, 25, 20))[0]
        personal = rng.choices(("yes", "no", ""), (92, 5, 3))[0]
        interests = "|".join(rng.sample(INTERESTS, rng.randint(0, 3)))
        company = vat(rng.randint(1, COMPANIES)) if rng.random() < 0.1 else ""
        rows.append(
            f"C{number:05d};{email};{first};{last};{zip_code};{phone};{newsletter};{personal};{interests};{company}",
        )
    again = [rng.choice(rows) for _ in range(4)]
    shop.planted |= {"customers without e-mail": empty, "customers with a wrong e-mail": invalid, "customers twice": 4}
    return rows + again


def _order_rows(shop: Shop, rng: random.Random, first: int, number: int, day: dt.datetime) -> list[list[str]]:
    """Orders of one day as cells, in order of time."""
    step = 86_000 / number
    rows = []
    for index in range(number):
        moment = day + dt.timedelta(seconds=int(index * step))
        customer = f"C{rng.randint(1, shop.customers):05d}"
        cents = int(rng.lognormvariate(8.3, 0.9)) + 199
        coupon = rng.choices(("", "WELCOME10", "SUMMER;SALE", 'THE "BIG" ONE'), (80, 15, 3, 2))[0]
        rows.append(
            [
                f"W{first + index:06d}",
                customer,
                moment.strftime("%d/%m/%Y %H:%M:%S"),
                rng.choice(STATUSES),
                amount(cents),
                coupon,
            ]
        )
    return rows


def _plant(shop: Shop, rng: random.Random, rows: list[list[str]]) -> None:
    """Wrong dates and amounts in orders that would count, so that each shows up as one dropped value."""
    counting = [row for row in rows if row[3] in {"paid", "shipped"}]
    picked = rng.sample(counting, 16)
    for row in picked[:9]:
        row[2] = rng.choice(("31/02/2026 10:00:00", "yesterday", "2026-11-01", "0000-00-00 00:00:00"))
    for row in picked[9:]:
        row[4] = rng.choice(("n/a", "12.34.56,00", "EUR 20", "1,2,3"))
    shop.planted["wrong dates"] = shop.planted.get("wrong dates", 0) + 9
    shop.planted["wrong amounts"] = shop.planted.get("wrong amounts", 0) + 7


def line(cells: list[str]) -> str:
    """One record, quoted where it must be."""
    return ";".join('"' + c.replace('"', '""') + '"' if any(x in c for x in ';"\n') else c for c in cells)


def _damage(shop: Shop, lines: list[str], first: int) -> list[str]:
    """A record with a cell too many, one with too few, and a quote that nobody closes."""
    third = len(lines) // 3
    broken = [
        f"W{first:06d};C00200;01/11/2026 12:00:00;paid;10,00;WELCOME10;left over",
        f"W{first + 1:06d};C00201;01/11/2026 12:00:01;paid",
        f'W{first + 2:06d};C00202;01/11/2026 12:00:02;paid;10,00;"SUMMER',
    ]
    shop.planted["records with a wrong number of cells"] = 2
    shop.planted["unclosed quotes"] = 1
    return [
        *lines[:third],
        broken[0],
        *lines[third : 2 * third],
        broken[1],
        *lines[2 * third : -5],
        broken[2],
        *lines[-5:],
    ]


def write(path: Path, header: str, lines: list[str], *, encoding: str = "utf-8", end: str = "\n") -> None:
    """Write a file under a temporary name and rename it, as a careful sender does."""
    temporary = path.with_name(path.name + ".part")
    temporary.write_bytes((end.join([header, *lines]) + end).encode(encoding))
    temporary.replace(path)


def generate(folder: Path, *, seed: int = 2026, orders: int = 20_000, customers: int = 6_000) -> Shop:
    """Write the six files of the shop into a folder.

    Args:
        folder: made when absent.
        seed: the same seed gives the same bytes.
        orders: over two daily files; at least 200.
        customers: at least 400.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shop, rng = Shop(folder, seed, orders, customers), random.Random(seed)
    write(folder / "customers.csv", CUSTOMER_HEADER, _customer_rows(shop, rng))
    write(folder / "companies.csv", COMPANY_HEADER, _company_rows(shop, random.Random(seed + 2)))

    products = []
    for number in range(1, 301):
        category = rng.choice(CATEGORIES)
        price = amount(rng.randint(199, 29_999))
        products.append(f"SKU{number:04d};{category.title()} item {number};{category};{price}")
    write(folder / "products.csv", "sku;name;category;price", products, end="\r\n")

    places = [f'"{code}","{name}","{province}"' for code, (name, province) in sorted(PLACES.items())]
    preamble = "Postal codes, édition 2026\nzip,municipality,province"
    write(folder / "postal_codes.csv", preamble, places, encoding="windows-1252", end="\r\n")

    order_lines = []
    half = orders // 2
    for position, day in enumerate(DAYS):
        rows = _order_rows(shop, rng, 1 + position * half, half, day)
        _plant(shop, rng, rows)
        for row in rows:
            for number in range(1, rng.choice((1, 1, 2, 2, 3, 4, 6)) + 1):
                sku = f"SKU{rng.randint(1, 300):04d}" if rng.random() > 0.001 else "SKU0000"
                order_lines.append(f"{row[0]};{number};{sku};{rng.randint(1, 4)};{amount(rng.randint(199, 9999))}")
        if position == 0:
            for row in rows[-5:]:  # no quote after the one that nobody closes
                row[5] = ""
        lines = [line(row) for row in rows]
        if position == 0:
            lines = _damage(shop, lines, 900_000)
        write(folder / f"orders_{day:%Y%m%d}.csv", ORDER_HEADER, lines)
    write(folder / "order_lines.csv", "order_id;line;sku;quantity;price", order_lines)
    _set_times(folder)
    return shop


def _set_times(folder: Path) -> None:
    """Give the files the times of a nightly export, so that their order does not depend on this machine."""
    for position, path in enumerate(sorted(folder.glob("*.csv"))):
        moment = 1_793_750_000 + position * 60
        os.utime(path, (moment, moment))


def change(shop: Shop, *, changed: int = 25, new: int = 15) -> dict[str, int]:
    """Send the second day's orders again: some amounts corrected, some orders added at the end.

    Returns:
        How many records changed and how many are new.
    """
    path = shop.folder / f"orders_{DAYS[1]:%Y%m%d}.csv"
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    rng = random.Random(shop.seed + 1)
    counting = [i for i, text in enumerate(lines) if text.split(";")[3] in {"paid", "shipped"}]
    for index in rng.sample(counting, changed):
        cells = lines[index].split(";", 5)
        cells[4] = amount(rng.randint(1_000, 90_000))
        lines[index] = ";".join(cells)
    rows = _order_rows(shop, rng, shop.orders + 1, new, DAYS[1] + dt.timedelta(hours=23, minutes=55))
    for number, row in enumerate(rows):
        row[2] = f"02/11/2026 23:59:{number:02d}"
        row[3] = "paid"
    write(path, header, [*lines, *(line(row) for row in rows)])
    return {"changed": changed, "new": new}


def break_customers(shop: Shop) -> str:
    """Rename the linking column of the customers file, as a careless release of the shop would.

    Returns:
        The name of the file.
    """
    path = shop.folder / "customers.csv"
    (shop.folder.parent / "customers.csv.good").write_bytes(path.read_bytes())
    text = path.read_text(encoding="utf-8")
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text.replace("customer_id;", "client_number;", 1), encoding="utf-8")
    temporary.replace(path)
    return path.name


def repair_customers(shop: Shop) -> None:
    """Put the good customers file back."""
    kept = shop.folder.parent / "customers.csv.good"
    kept.replace(shop.folder / "customers.csv")
