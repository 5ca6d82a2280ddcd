"""GitVolume against a plain dictionary: whatever is done, both say the same, and the history says what was."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from llmos_lite.engines.signing import Signer
from llmos_lite.errors import NotFound
from llmos_lite.volumes.access import PLATFORM, VolumeRef
from llmos_lite.volumes.git_volume import GitVolume, author_of
from llmos_lite.volumes.manager import VolumeManager

REF, ALICE = VolumeRef.user("alice"), author_of("alice")
IDS = st.sampled_from(["a", "b", "a-b", "skill", "x1"])
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=30)


class VolumeMachine(RuleBasedStateMachine):
    """The model: skill id -> text of the folder, and of the flat file; and what each commit held."""

    @initialize()
    def start(self) -> None:
        self.data = Path(tempfile.mkdtemp())
        self.signer = Signer.open(self.data / "keys")
        self.folders: dict[str, str] = {}
        self.flats: dict[str, str] = {}
        self.past: dict[str, dict[str, str]] = {}
        self.reopen()

    @rule()
    def reopen(self) -> None:
        self.volumes = VolumeManager(self.data, self.signer)
        self.volume: GitVolume = self.volumes.open(PLATFORM, REF, write=True)

    @property
    def skills(self) -> dict[str, str]:
        return self.flats | self.folders

    def note(self) -> None:
        head = self.volume.store.head()
        assert head is not None
        self.past[head] = self.skills

    @rule(name=IDS, text=TEXT)
    def write(self, name: str, text: str) -> None:
        self.volume.write_skill(name, text, author=ALICE)
        self.flats.pop(name, None)
        self.folders[name] = text
        self.note()

    @rule(name=IDS)
    def delete(self, name: str) -> None:
        if name not in self.skills:
            try:
                self.volume.delete_skill(name)
            except NotFound:
                return
            raise AssertionError
        self.volume.delete_skill(name)
        self.flats.pop(name, None)
        self.folders.pop(name, None)
        self.note()

    @rule(name=IDS, text=TEXT)
    def drop_flat(self, name: str, text: str) -> None:
        (self.volumes.folder(REF) / f"skills/{name}.md").write_text(text, newline="")
        self.volumes.adopt(REF)
        self.flats[name] = text
        self.note()

    @precondition(lambda self: self.folders)
    @rule(data=st.data(), text=TEXT)
    def edit_by_hand_then_write_another(self, data: st.DataObject, text: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.folders)))
        (self.volumes.folder(REF) / f"skills/{name}/SKILL.md").write_text(text, newline="")
        self.volume.write_skill("other", text)
        self.volumes.adopt(REF)
        self.folders |= {name: text, "other": text}
        self.flats.pop("other", None)
        self.note()

    @precondition(lambda self: self.past)
    @rule(data=st.data())
    def look_back(self, data: st.DataObject) -> None:
        at = data.draw(st.sampled_from(sorted(self.past)))
        found = {
            skill.skill_id: self.volume.read_skill(skill.skill_id, at=at) for skill in self.volume.list_skills(at=at)
        }
        assert found == self.past[at]

    @invariant()
    def both_say_the_same(self) -> None:
        listed = self.volume.list_skills()
        assert {skill.skill_id: self.volume.read_skill(skill.skill_id) for skill in listed} == self.skills
        assert {skill.skill_id for skill in listed if skill.is_folder} == set(self.folders)
        for skill in listed:
            assert self.volume.read_skill(skill.skill_id, version=skill.version) == self.skills[skill.skill_id]

    def teardown(self) -> None:
        folder = self.volumes.folder(REF)
        run = subprocess.run(["git", "-C", folder, "status", "--porcelain"], capture_output=True, check=True)
        assert run.stdout == b""
        self.volumes.close()
        shutil.rmtree(self.data)


TestVolume = VolumeMachine.TestCase
TestVolume.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
