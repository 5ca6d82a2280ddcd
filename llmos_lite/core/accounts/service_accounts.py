"""Service accounts: one for the cron of the system and one for that of each team.

They are rows beside people, stand as the actor of what is due by the clock, cannot sign in and cannot be named; a
system admin may make API keys for them, as for a build that pushes to a team.
"""

from __future__ import annotations

from llmos_lite.core.accounts.permissions import Role
from llmos_lite.core.traces.trace import now_ms
from llmos_lite.errors import Invalid
from llmos_lite.records.accounts import SERVICE, Account, AccountStore
from llmos_lite.volumes.access import ID_LENGTH, SYSTEM, VolumeRef

END = "-cron"
"""How the id of a service account ends, and no person's."""
SYSTEM_ACCOUNT = f"system{END}"


def check_personal(user_id: str) -> str:
    """Return an id that a person may have.

    Raises:
        Invalid: `user.reserved`.
    """
    if user_id.endswith(END):
        raise Invalid(
            "user.reserved", f"Ids that end with {END} are those of service accounts.", hint="Choose another."
        )
    return user_id


async def service_account(store: AccountStore, ref: VolumeRef) -> Account:
    """Return the service account that works for a team or for the system; made when there is none."""
    found = await store.service(str(ref))
    number = 0 if ref == SYSTEM or ref.id != "system" else 1
    while found is None:
        number += 1
        account = Account(
            user_id=_id(ref, number),
            name=f"Cron of {ref}",
            role=Role.USER,
            record=False,
            share="none",
            created=now_ms(),
            kind=SERVICE,
            service_of=str(ref),
        )
        found = account if await store.add_user(account) else await store.service(str(ref))
    return found


def _id(ref: VolumeRef, number: int) -> str:
    end = f"-{number}{END}" if number > 1 else END
    return (ref.id or "system")[: ID_LENGTH - len(end)].strip("-") + end
