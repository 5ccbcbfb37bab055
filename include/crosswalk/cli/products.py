"""The command that asks the product store."""

from __future__ import annotations

import argparse
from typing import Any

from crosswalk.cli.connections import row_count, store
from crosswalk.cli.show import Output


def add_commands(commands: Any) -> None:
    """Register products."""
    text = "the products that events have put into the product store, bought most often or most recently"
    command = commands.add_parser("products", help=text, description=text)
    command.add_argument("--by", choices=("count", "recent"), default="count", help="what comes first; default: count")
    command.add_argument("--limit", type=row_count, default=20, help="at most this many; default: 20")
    command.set_defaults(run=_products)


def _products(options: argparse.Namespace, output: Output) -> int:
    with store() as opened_store:
        found = opened_store.products(options.by, options.limit)
    if output.as_json:
        output.json(found)
        return 0
    rows = [[item["product_id"], item["name"], item["bought_count"], item["last_bought_at"][:19]] for item in found]
    output.table("", ["product", "name", "bought", "last bought"], rows)
    return 0
