"""``init`` and ``map`` write connection files from what the files hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from crosswalk.cli.compose import scalar
from crosswalk.cli.main import main
from tests.acceptance.shop import Shop
from tests.simulators.folder_connector import FolderConnector


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    made = Shop(tmp_path, f"sqlite:///{tmp_path}/store.db")
    monkeypatch.setenv("CROSSWALK_STORE", made.store_uri)
    monkeypatch.setenv("CROSSWALK_STAGING", str(tmp_path / "staging"))
    monkeypatch.setenv("CROSSWALK_TENANT", str(tmp_path / "tenant"))
    monkeypatch.setenv("CROSSWALK_CONNECTIONS", str(tmp_path / "connections"))
    monkeypatch.setattr("crosswalk.connectors.create", lambda kind, details: FolderConnector(made.source))
    for module in ("connections", "look", "init"):
        monkeypatch.setattr(f"crosswalk.cli.{module}.resolve", Shop.resolve)
    return made


class Commands:
    """Runs commands and reads what they wrote."""

    def __init__(self, shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
        self.shop, self.capsys = shop, capsys

    def __call__(self, *arguments: str) -> tuple[int, Any]:
        code = main([*arguments, "--json"])
        return code, json.loads(self.capsys.readouterr().out)

    def written(self, name: str) -> Any:
        return yaml.safe_load(self.text(name))["goals"][0]

    def text(self, name: str) -> str:
        return (self.shop.root / "connections" / f"{name}.yaml").read_text(encoding="utf-8")

    def errors(self, name: str) -> list[str]:
        _, findings = self("check", name)
        return [finding["message"] for finding in findings if finding["severity"] == "error"]


@pytest.fixture
def crosswalk(shop: Shop, capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(shop, capsys)


def test_a_messy_file_becomes_a_connection_that_checks_plans_and_runs(shop: Shop, crosswalk: Commands) -> None:
    shop.put(
        "klanten.csv",
        'Lijst van klanten\n\nE-mail;Voornaam;Totaal \u20ac;Sinds;Leeg;Opt: in, "x"\n'.encode("windows-1252")
        + "an@x.org;Zo\u00eb;1.234,50;31/12/2025;;ja\nbo@x.org;Bo;3,5;01/02/2026;;nee\n".encode("windows-1252"),
    )
    code, done = crosswalk("init", "klanten", "--path", "/in/klanten.csv", "--prefix", "shop_", "--write-properties")
    assert (code, done["properties_written"]) == (0, True)
    goal = crosswalk.written("klanten")
    marks = {"separator": ";", "quote": '"', "decimal": ",", "thousands": ".", "date": "%d/%m/%Y"}
    assert goal["format"] == {
        **marks,
        "encoding": "windows-1252",
        "compression": "none",
        "header_rows": 1,
        "skip_lines": 2,
    }
    assert goal["identifiers"] == [{"field": "klanten.E-mail", "property": "email"}]
    assert [item["property"] for item in goal["mappings"]["fields"]] == [
        "voornaam",
        "totaal",
        "sinds",
        "leeg",
        "opt_in_x",
    ]
    assert crosswalk.errors("klanten") == []
    _, plan = crosswalk("plan", "klanten")
    assert (plan["goals"][0]["counts"]["created"], plan["goals"][0]["counts"]["invalid_values"]) == (2, 0)
    _, run = crosswalk("run", "klanten")
    assert run["state"] == "done"
    values = shop.values("an@x.org")
    assert values is not None
    assert (values["shop_voornaam"], values["shop_totaal"]) == (["Zo\u00eb"], ["1234.5"])


def test_missing_properties_are_shown_ready_to_paste_and_nothing_is_written(shop: Shop, crosswalk: Commands) -> None:
    shop.put("people.csv", "email,city,Shoe size\nan@x.org,Gent,41\n")
    before = (shop.root / "tenant" / "properties.yaml").read_text()
    _, done = crosswalk("init", "people", "--path", "/in/people.csv")
    assert done["missing_properties"] == [
        "  shoe_size: {name: Shoe size, type: number}".replace("Shoe size", '"Shoe size"')
    ]
    assert (shop.root / "tenant" / "properties.yaml").read_text() == before


def test_a_folder_becomes_linked_files_where_the_samples_prove_it(shop: Shop, crosswalk: Commands) -> None:
    shop.put("orders_20260101.csv", "order_id,klant_nr,sku\n9,1,a\n")
    shop.put("orders_20260102.csv", "order_id,klant_nr,sku\n10,1,a\n11,2,b\n12,2,a\n")
    shop.put("customers.csv", "klant_nr;email\n1;an@x.org\n2;bo@x.org\n")
    shop.put("products.csv", "sku|title\na|Apple\nb|Beer\n")
    shop.put("weather.csv", "day,rain\n2026-01-01,3\n")
    shop.put("photo.csv.gz", b"no archive at all")
    _, done = crosswalk("init", "web", "--path", "/in/", "--write-properties")
    primary, *linked = crosswalk.written("web")["files"]
    assert primary == {"name": "orders", "path": "/in/", "regex": r"orders_[0-9]+\.csv"}
    assert {file["name"]: file["link"] for file in linked} == {
        "customers": {"klant_nr": "orders.klant_nr"},
        "products": {"sku": "orders.sku"},
    }
    assert any("weather" in note for note in done["notes"])
    assert any("photo" in note for note in done["notes"])
    assert crosswalk.errors("web") == []
    _, plan = crosswalk("plan", "web")
    assert plan["goals"][0]["counts"]["created"] == 2


def test_equal_columns_that_prove_nothing_make_no_link(shop: Shop, crosswalk: Commands) -> None:
    shop.put("a.csv", "id,email\n1,an@x.org\n2,bo@x.org\n")
    shop.put("b.csv", "id,title\n1,Apple\n2,Beer\n")
    _, done = crosswalk("init", "web", "--path", "/in/")
    assert [file["name"] for file in crosswalk.written("web")["files"]] == ["a"]
    assert "b (/in/b.csv) is not used" in done["notes"][0]


def test_values_that_do_not_look_like_the_declared_property_are_a_doubt(shop: Shop, crosswalk: Commands) -> None:
    shop.put("people.csv", "email,city,visits,born\nan@x.org,7,often,soon\n")
    _, done = crosswalk("init", "people", "--path", "/in/people.csv")
    assert [line.partition("property: ")[2][:6] for line in done["uncertain"]] == ["visits", "born} "]


def test_hostile_names_stay_text(shop: Shop, crosswalk: Commands) -> None:
    shop.put("it's [a] {list}: #1.csv", 'email,"x: {y}, #z\n- kind: evil",\u202eabc,"{{ 1 }}"\nan@x.org,1,2,3\n')
    shop.put("line\nkind: evil.csv", "email\nan@x.org\n")
    _, done = crosswalk("init", "web", "--path", "/in/", "--write-properties")
    assert any("cannot be seen" in note for note in done["notes"])
    loaded = yaml.safe_load(crosswalk.text("web"))
    assert loaded["kind"] == "sftp"
    assert "\u202e" not in crosswalk.text("web")
    assert crosswalk.errors("web") == []
    _, plan = crosswalk("plan", "web")
    assert plan["goals"][0]["counts"]["created"] == 1


def test_a_header_alone_is_enough_and_says_what_is_open(shop: Shop, crosswalk: Commands) -> None:
    shop.put("people.csv", "Mail address;city\n")
    _, done = crosswalk("init", "people", "--path", "/in/people.csv", "--write-properties")
    assert len(done["uncertain"]) == 1
    assert crosswalk.written("people")["identifiers"][0]["field"] == "people.Mail address"
    assert crosswalk.errors("people") == []


@pytest.mark.parametrize("path", ["/in/nothing.csv", "/in/none_*.csv", "/in/empty.csv"])
def test_without_a_file_that_can_be_read_nothing_is_written(shop: Shop, crosswalk: Commands, path: str) -> None:
    shop.put("empty.csv", b"")
    assert main(["init", "people", "--path", path]) == 2
    assert not (shop.root / "connections" / "people.yaml").exists()


def test_a_local_sample_needs_no_server(
    shop: Shop, crosswalk: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crosswalk.connectors.create", None)
    (tmp_path / "mine.csv").write_text("email;city\nan@x.org;Gent\n")
    code, _ = crosswalk("init", "people", "--sample", str(tmp_path / "mine.csv"), "--path", "/in/p_*.csv")
    assert code == 0
    assert crosswalk.written("people")["files"] == [{"name": "p", "path": "/in/p_*.csv"}]


def test_without_a_file_a_skeleton_is_written_that_can_be_read(shop: Shop, crosswalk: Commands) -> None:
    assert crosswalk("init", "later")[0] == 0
    assert crosswalk.written("later")["identifiers"] == [{"field": "customers.email", "property": "email"}]
    assert main(["init", "later"]) == 2


@pytest.mark.parametrize("prefix", ["bad prefix", "{", "x" * 101])
def test_a_prefix_that_no_property_can_have_is_refused(shop: Shop, crosswalk: Commands, prefix: str) -> None:
    shop.put("people.csv", "email,city\nan@x.org,Gent\n")
    assert main(["init", "people", "--path", "/in/people.csv", "--prefix", prefix]) == 2
    assert not (shop.root / "connections").exists()


# -- map --------------------------------------------------------------------------------------------------------------


def test_new_columns_are_added_and_the_rest_of_the_file_stays(shop: Shop, crosswalk: Commands) -> None:
    shop.put("people.csv", "email,city\nan@x.org,Gent\n")
    crosswalk("init", "people", "--path", "/in/people*.csv", "--prefix", "shop_")
    before = crosswalk.text("people")
    shop.put("people.csv", "email,city,Shoe size,Since\nan@x.org,Gent,41,2026-01-01\n")
    code, done = crosswalk("map", "people", "--all", "--write-properties")
    assert code == 0
    fields = crosswalk.written("people")["mappings"]["fields"]
    assert [item["property"] for item in fields] == ["city", "shoe_size", "since"]
    after = crosswalk.text("people").splitlines()
    assert [line for line in after if line.strip() not in done["mappings"]] == before.splitlines()
    assert crosswalk.errors("people") == []
    assert crosswalk("map", "people", "--all")[1]["mappings"] == []


def test_a_prefix_is_written_into_the_property_where_the_goal_has_none(shop: Shop, crosswalk: Commands) -> None:
    shop.put("people.csv", "email,city,age\nan@x.org,Gent,41\n")
    shop.connection("identifiers: [{field: people.email, property: email}]\nmappings:\n  fields: []")
    crosswalk("map", "shop", "--field", "people.age", "--prefix", "crm_")
    assert crosswalk.written("shop")["mappings"]["fields"] == [{"field": "people.age", "property": "crm_age"}]


@pytest.mark.parametrize(
    ("mappings", "arguments", "said"),
    [
        ("mappings: {prefix: shop_}", ["--all", "--prefix", "crm_"], 'has the prefix "shop_"'),
        ("mappings: {fields: []}", ["--field", "people.nothing"], "people.city"),
        ("mappings: {fields: [{field: people.city, property: city}]}", ["--field", "people.age"], "Paste these"),
    ],
)
def test_what_cannot_be_added_is_said_and_nothing_changes(
    shop: Shop, capsys: pytest.CaptureFixture[str], mappings: str, arguments: list[str], said: str
) -> None:
    shop.put("people.csv", "email,city,age\nan@x.org,Gent,41\n")
    path = shop.connection(f"identifiers: [{{field: people.email, property: email}}]\n{mappings}")
    before = path.read_text()
    assert main(["map", "shop", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert path.read_text() == before


@pytest.mark.parametrize(
    "text", ["no", "1", "", "a: b", "# x", "\u202eabc", "\U0001f600", "x\ny", "[a]", "null", "\t", '"']
)
def test_any_text_is_written_so_that_it_reads_back(text: str) -> None:
    line = f"{{key: {scalar(text)}}}"
    assert "\n" not in line
    assert yaml.safe_load(line) == {"key": text}
