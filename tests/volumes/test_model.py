"""GitVolume against a plain dictionary: whatever is done, both say the same, and the history says what was."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pygit2
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from llmos_lite.engines.signing import Signer
from llmos_lite.errors import Conflict, NotFound
from llmos_lite.volumes.access import PLATFORM, VolumeRef
from llmos_lite.volumes.git_volume import GitVolume, author_of
from llmos_lite.volumes.manager import VolumeManager

REF, TEAM, ALICE = VolumeRef.user("alice"), VolumeRef.team("sre"), author_of("alice")
IDS = st.sampled_from(["a", "b", "a-b", "skill", "x1"])
BRANCHES = st.sampled_from(["pr/alice/a", "pr/alice/b", "draft"])
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=30)


class VolumeMachine(RuleBasedStateMachine):
    """The model: skill id -> text of the folder, and of the flat file; what each commit held, and each branch."""

    @initialize()
    def start(self) -> None:
        self.data = Path(tempfile.mkdtemp())
        self.signer = Signer.open(self.data / "keys")
        self.folders: dict[str, str] = {}
        self.flats: dict[str, str] = {}
        self.past: dict[str, dict[str, str]] = {}
        self.branches: dict[str, dict[str, str]] = {}
        self.promoted: dict[str, str] = {}
        self.reopen()

    @rule()
    def reopen(self) -> None:
        self.volumes = VolumeManager(self.data, self.signer)
        self.volume: GitVolume = self.volumes.open(PLATFORM, REF, write=True)
        self.team = self.volumes.open(PLATFORM, TEAM, write=True)

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

    @precondition(lambda self: self.skills)
    @rule(data=st.data())
    def delete_by_hand(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.skills)))
        root = self.volumes.folder(REF) / "skills"
        shutil.rmtree(root / name, ignore_errors=True)
        (root / f"{name}.md").unlink(missing_ok=True)
        self.volumes.adopt(REF)
        self.flats.pop(name, None)
        self.folders.pop(name, None)
        self.note()

    @rule(branch=BRANCHES)
    def create_branch(self, branch: str) -> None:
        if branch in self.branches:
            with pytest.raises(Conflict):
                self.volume.create_branch(branch)
            return
        self.volume.create_branch(branch)
        self.branches[branch] = self.skills

    @rule(branch=BRANCHES, name=IDS, text=TEXT)
    def write_on_a_branch(self, branch: str, name: str, text: str) -> None:
        if branch in self.branches:
            self.volume.store.commit({f"skills/{name}/SKILL.md": text.encode()}, "Propose", ALICE, branch=branch)
            self.branches[branch] = self.branches[branch] | {name: text}

    @rule(branch=BRANCHES)
    def delete_branch(self, branch: str) -> None:
        if branch in self.branches:
            self.volume.store.delete_branch(branch)
            del self.branches[branch]
            return
        with pytest.raises(NotFound):
            self.volume.store.delete_branch(branch)

    @rule(name=IDS)
    def promote(self, name: str) -> None:
        if name not in self.skills:
            with pytest.raises(NotFound):
                self.volumes.promote_skill(name, REF, TEAM, ALICE, "Useful")
            return
        self.volumes.promote_skill(name, REF, TEAM, ALICE, "Useful")
        self.promoted[name] = self.skills[name]

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

    @invariant()
    def branches_and_the_team_say_the_same(self) -> None:
        heads = self.volume.store.branches()
        assert heads.keys() - {"main"} == self.branches.keys()
        for branch, skills in self.branches.items():
            listed = self.volume.list_skills(at=heads[branch])
            assert {one.skill_id: self.volume.read_skill(one.skill_id, at=heads[branch]) for one in listed} == skills
        listed = self.team.list_skills()
        assert {one.skill_id: self.team.read_skill(one.skill_id) for one in listed} == self.promoted

    def teardown(self) -> None:
        for ref in (REF, TEAM):
            repo = pygit2.Repository(str(self.volumes.folder(ref)))
            assert repo.status() == {}
            repo.free()
        self.volumes.close()
        shutil.rmtree(self.data)


class TestVolume(VolumeMachine.TestCase):
    settings = settings(max_examples=8, stateful_step_count=25, deadline=None)


@pytest.mark.soak
class TestVolumeAtLength(VolumeMachine.TestCase):
    settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
