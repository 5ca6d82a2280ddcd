"""Plug-ins are found by entry point, one at a time or all of a group, and a broken one names its owner."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from llmos_lite.engines import plugins
from llmos_lite.errors import Conflict, Invalid, NotFound


class Site:
    """A folder on the import path that packages are put into, as pip would leave them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, distribution: str, code: str, **entries: str) -> None:
        """Install a distribution with one module and its entries in the group of importers."""
        module = distribution.replace("-", "_")
        (self.folder / f"{module}.py").write_text(code)
        info = self.folder / f"{module}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
        lines = "".join(f"{name} = {value}\n" for name, value in entries.items())
        (info / "entry_points.txt").write_text(f"[{plugins.IMPORTERS}]\n{lines}")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("plugin_good", "plugin_bad", "plugin_other"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return Site(tmp_path)


def test_a_fresh_installation_has_no_plugins() -> None:
    assert {group: plugins.load(group) for group in plugins.GROUPS} == {group: {} for group in plugins.GROUPS}


def test_what_a_package_adds_is_found_by_name(site: Site) -> None:
    site.add("plugin-good", "def read(): return 'rows'\n", csv="plugin_good:read")
    loaded = plugins.load(plugins.IMPORTERS)
    assert list(loaded) == ["csv"]
    assert getattr(loaded["csv"], "__name__", "") == "read"
    assert plugins.find(plugins.IMPORTERS, "csv") is loaded["csv"]
    assert plugins.load(plugins.MODELS) == {}


def test_a_broken_plugin_names_its_distribution(site: Site) -> None:
    site.add("plugin-bad", "raise RuntimeError('no such tariff')\n", bad="plugin_bad:read")
    with pytest.raises(Invalid) as caught:
        plugins.load(plugins.IMPORTERS)
    assert caught.value.code == "plugin.broken"
    assert "'bad' of plugin-bad 1.2" in caught.value.message
    assert "no such tariff" in caught.value.message
    assert "plugin_bad:read" in caught.value.hint


@pytest.mark.parametrize("value", ["plugin_bad:missing", "no_such_module_anywhere:read"])
def test_an_entry_that_points_nowhere_is_broken_too(site: Site, value: str) -> None:
    site.add("plugin-bad", "", bad=value)
    with pytest.raises(Invalid, match=r"plugin-bad 1\.2"):
        plugins.find(plugins.IMPORTERS, "bad")


def test_one_broken_plugin_does_not_keep_another_from_being_used(site: Site) -> None:
    site.add("plugin-bad", "raise RuntimeError\n", bad="plugin_bad:read")
    site.add("plugin-good", "read = 1\n", good="plugin_good:read")
    assert plugins.names(plugins.IMPORTERS) == ["bad", "good"]
    assert plugins.find(plugins.IMPORTERS, "good") == 1


def test_two_packages_with_one_name_are_refused(site: Site) -> None:
    site.add("plugin-good", "read = 1\n", csv="plugin_good:read")
    site.add("plugin-other", "read = 2\n", csv="plugin_other:read")
    with pytest.raises(Conflict, match=r"plugin-good 1\.2|plugin-other 1\.2") as caught:
        plugins.names(plugins.IMPORTERS)
    assert caught.value.code == "plugin.twice"


def test_an_unknown_name_lists_those_that_there_are(site: Site) -> None:
    site.add("plugin-good", "read = 1\n", csv="plugin_good:read")
    with pytest.raises(NotFound, match="there are: csv") as caught:
        plugins.find(plugins.IMPORTERS, "xml")
    assert caught.value.code == "plugin.unknown"
    with pytest.raises(NotFound, match="there are: none"):
        plugins.find(plugins.SCANNERS, "xml")
