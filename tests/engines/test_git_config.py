"""Every repository tells stock git which keys sign."""

from __future__ import annotations

import subprocess
from pathlib import Path

from llmos_lite.engines.git_config import include, write_shared


def asked(gitdir: Path) -> str:
    command = ["git", "--git-dir", gitdir, "config", "gpg.ssh.allowedSignersFile"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def test_git_finds_the_list_of_keys_also_when_both_were_moved(tmp_path: Path) -> None:
    data = tmp_path / 'a "b\\c'
    gitdir = data / "volumes/x.git"
    subprocess.run(["git", "init", "-q", "--bare", gitdir], check=True)
    for _ in range(2):
        write_shared(data / "git-config", data / "allowed_signers")
        include(gitdir, data / "git-config")
    assert asked(gitdir) == str(data / "allowed_signers")
    assert (gitdir / "config").read_text().count("[include]") == 1
    moved = data.rename(tmp_path / "moved")
    write_shared(moved / "git-config", moved / "allowed_signers")
    assert asked(moved / "volumes/x.git") == str(moved / "allowed_signers")


def test_a_configuration_that_somebody_writes_is_left_to_them(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("[core]\n\tbare = true")
    (tmp_path / "config.lock").write_text("")
    include(tmp_path, tmp_path / "shared")
    assert (tmp_path / "config").read_text() == "[core]\n\tbare = true"
    assert (tmp_path / "config.lock").exists()
    include(tmp_path / "none", tmp_path / "shared")
    assert not (tmp_path / "none").exists()
