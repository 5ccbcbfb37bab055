"""The reasons for which *link* and *map* set a row or a value aside, with their sentence for a person."""

from __future__ import annotations

from sqlglot import exp

from crosswalk.engine.template import Node, sql, text

MESSAGES = {
    "ambiguous_match": "The identifiers name different profiles: ",
    "identifier_taken": "The identifier belongs to another profile.",
    "shared_identifier": "Its identifiers connect it to more than 20 different new rows; these cannot be one profile.",
    "too_long": "The text is longer than 65,000 characters, or 500 in a unique identifier.",
    "invalid_email": "The text is not an e-mail address.",
    "invalid_number": "The text is not a whole number.",
    "invalid_decimal": "The text is not a number with the marks of this format.",
    "invalid_currency": "The text is not an amount with the marks of this format.",
    "ambiguous_number": "The mark could be of decimals or of thousands; set `thousands` or `decimal` in the format.",
    "out_of_range": "The number is larger than the property's type can hold.",
    "invalid_datetime": "The text is not a date and time in this format.",
    "invalid_date": "The text is not a date in this format.",
    "invalid_boolean": "The text is none of true, false, yes, no, 1 and 0.",
    "event_without_date": "The row has the id of an event but no date; there is no event.",
    "event_too_large": "The event takes more than 4,096 bytes; there is no event.",
    "unknown_answer": "The text is neither among the granted nor among the refused answers.",
    "sum_out_of_range": "The sum is larger than the property's type can hold; nothing was added.",
    "too_many_values": "A property keeps at most 1,000 values; the last ones were dropped.",
}


def message_of(reason: Node) -> Node:
    """The sentence for a reason."""
    whens = [exp.If(this=text(code), true=text(message)) for code, message in MESSAGES.items()]
    return exp.Case(this=reason.copy(), ifs=whens, default=sql("'The value does not fit.'"))
