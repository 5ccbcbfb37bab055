"""What Airflow is told about us."""

from __future__ import annotations

import json
from importlib.metadata import entry_points
from importlib.resources import files

from crosswalk.hooks import provider_info


def test_the_entry_point_gives_plain_data_in_airflows_form() -> None:
    import jsonschema

    [entry] = [e for e in entry_points(group="apache_airflow_provider") if e.value.startswith("crosswalk.")]
    info = entry.load()()

    assert info == provider_info() == json.loads(json.dumps(info))
    schema = json.loads(files("airflow").joinpath("provider_info.schema.json").read_text())
    jsonschema.validate(info, schema)


def test_secret_fields_of_the_form_are_hidden_and_known_to_the_masker() -> None:
    from crosswalk.hooks.credentials import is_secret_name

    [kind] = provider_info()["connection-types"]

    for name, field in kind["conn-fields"].items():
        assert (field["schema"].get("format") == "password") is is_secret_name(name)


def test_the_form_offers_exactly_the_two_login_methods() -> None:
    from crosswalk.transport.sftp_login import AUTH_METHODS

    [kind] = provider_info()["connection-types"]

    assert kind["conn-fields"]["auth_method"]["schema"]["enum"] == list(AUTH_METHODS) == ["password", "public_key"]
