"""What all models of YAML files share: strict, immutable, ids and lists as people write them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.fields import FieldInfo

NAME = r"^[A-Za-z][A-Za-z0-9_-]{0,99}$"
Name = Annotated[str, Field(pattern=NAME)]
PROPERTY_ID = r"^[A-Za-z0-9_-]{1,100}$"
PropertyId = Annotated[str, Field(pattern=PROPERTY_ID)]


def accept_one_text(value: Any) -> Any:
    """A single text where a list of texts is wanted counts as a list of one."""
    return [value] if isinstance(value, str) else value


Texts = Annotated[list[str], BeforeValidator(accept_one_text, json_schema_input_type=list[str] | str)]


class Model(BaseModel):
    """Base of all models: unknown keys are errors, values are immutable.

    A validator is built when a model is first used by itself: most are used only inside others, and each task pays for
    what is built at import.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


def keys_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a model by the keys that people write (``as``, ``from``, ``not`` are no names in Python)."""
    if not model.__pydantic_complete__:  # its annotations may still be names of other models
        model.model_rebuild()
    return {field.alias or name: field for name, field in model.model_fields.items()}


def given_keys(value: Any) -> set[str]:
    """The keys of a block, whether it is still plain data or a model already; none for anything else."""
    if isinstance(value, dict):
        return set(value)
    if isinstance(value, BaseModel):
        return {type(value).model_fields[name].alias or name for name in value.model_fields_set}
    return set()
