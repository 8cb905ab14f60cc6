"""The rules of access, beside a naive model that goes through rights one by one."""

from collections.abc import Iterable
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tupli_schemas.access import (
    ALL_REACH,
    ALL_RIGHTS,
    BUILT_IN_ROLES,
    CONTENT_REACH,
    EVERYBODYS_ROLES,
    Access,
    Kind,
    Reach,
    Right,
)
from tupli_schemas.catalog import GLOBAL_SCOPE
from tupli_schemas.ids import id_text, make_id

ME, YOU = make_id(1, 1), make_id(1, 2)
LAB, CLUB = id_text(make_id(2, 1)), id_text(make_id(2, 2))
SCOPES = (GLOBAL_SCOPE, LAB, CLUB, id_text(ME), id_text(YOU))


def rights_of(*roles: str) -> frozenset[Right]:
    return frozenset(chain.from_iterable(BUILT_IN_ROLES[role] for role in roles))


EVERYBODY = {GLOBAL_SCOPE: rights_of(*EVERYBODYS_ROLES)}
GUEST = Access(None, {GLOBAL_SCOPE: rights_of("guest")})
MEMBER = Access(ME, EVERYBODY | {LAB: rights_of("member")})
ADMIN = Access(ME, {GLOBAL_SCOPE: ALL_RIGHTS})


def test_there_are_the_seeds_rights_and_roles() -> None:
    assert len(Right) == 18
    assert {role: len(rights) for role, rights in BUILT_IN_ROLES.items()} == {
        "admin": 18, "content_admin": 9, "user_admin": 4, "group_admin": 5, "contributor": 6, "member": 5,
        "global_member": 5, "guest": 3,
    }  # fmt: skip
    assert all(right == right.name.lower() for right in Right)


@pytest.mark.parametrize("kind", list(Kind))
def test_what_is_published_to_a_group_is_its_members(kind: Kind) -> None:
    outsider = Access(ME, EVERYBODY)
    assert MEMBER.may_read(kind, YOU, [LAB])
    assert not outsider.may_read(kind, YOU, [LAB])
    assert not outsider.may_read(kind, YOU, [id_text(YOU)])
    assert outsider.may_read(kind, YOU, [LAB, GLOBAL_SCOPE])
    assert outsider.may_read(kind, ME, [])
    assert MEMBER.readable(kind) == {GLOBAL_SCOPE, LAB, id_text(ME)}


@pytest.mark.parametrize("kind", list(Kind))
def test_publishing_needs_the_target_and_unpublishing_ones_own_does_not(kind: Kind) -> None:
    contributor = Access(ME, EVERYBODY | {LAB: rights_of("contributor")})
    assert contributor.may_publish(kind, ME, LAB)
    assert contributor.may_publish(kind, ME, GLOBAL_SCOPE)
    assert not contributor.may_publish(kind, ME, CLUB)
    assert not contributor.may_publish(kind, YOU, LAB)
    assert not MEMBER.may_publish(kind, ME, LAB)
    assert MEMBER.may_unpublish(kind, ME, LAB)
    assert not contributor.may_unpublish(kind, YOU, LAB)
    assert Access(ME, {LAB: rights_of("content_admin")}).may_unpublish(kind, YOU, LAB)


@pytest.mark.parametrize("kind", list(Kind))
def test_deleting_what_is_anothers_needs_the_right_in_global(kind: Kind) -> None:
    assert MEMBER.may_delete(kind, ME)
    assert not Access(ME, {LAB: ALL_RIGHTS}).may_delete(kind, YOU)
    assert Access(ME, {GLOBAL_SCOPE: rights_of("content_admin")}).may_delete(kind, YOU)


def test_recording_needs_the_benchmark_to_be_readable() -> None:
    assert MEMBER.may_record(YOU, [LAB])
    assert not MEMBER.may_record(YOU, [CLUB])
    assert MEMBER.may_record(ME, [])
    assert Access(ME, EVERYBODY, frozenset({Reach.RECORD})).may_record(YOU, [GLOBAL_SCOPE])


def test_a_guest_reads_what_is_published_to_everybody_and_nothing_else() -> None:
    assert GUEST.may_read(Kind.EPISODE, YOU, [GLOBAL_SCOPE])
    assert GUEST.readable(Kind.EPISODE) == {GLOBAL_SCOPE}
    assert not GUEST.may_read(Kind.EPISODE, YOU, [LAB])
    assert not GUEST.may_create()
    assert not GUEST.may_record(YOU, [GLOBAL_SCOPE])
    assert not any(GUEST.may_govern(right) for right in Right)


def test_a_group_is_governed_by_who_has_the_right_in_it_or_in_global() -> None:
    leader = Access(ME, EVERYBODY | {LAB: rights_of("group_admin", "contributor")})
    assert leader.may_govern(Right.GROUP_DELETE, LAB)
    assert not leader.may_govern(Right.GROUP_DELETE, CLUB)
    assert ADMIN.may_govern(Right.GROUP_DELETE, CLUB)
    assert not ADMIN.may_govern(Right.GROUP_UPDATE, id_text(ME))  # a personal scope is not a group
    assert not ADMIN.may_govern(Right.EPISODE_READ)


def test_nobody_gives_more_than_he_holds() -> None:
    leader = Access(ME, EVERYBODY | {LAB: rights_of("group_admin")})
    assert leader.may_give(rights_of("group_admin"), LAB)
    assert not leader.may_give(
        rights_of("member"), LAB
    )  # he reads what is global, and not what is the group's
    assert not leader.may_give(rights_of("admin"), LAB)
    assert not leader.may_give(rights_of("group_admin"), CLUB)
    assert Access(ME, EVERYBODY | {LAB: rights_of("group_admin", "contributor")}).may_give(_READERS, LAB)
    assert ADMIN.may_give(rights_of("admin"), CLUB)


_READERS = rights_of("guest")


def test_a_token_narrows_and_gives_nothing() -> None:
    for access in (MEMBER, ADMIN, GUEST):
        narrow = Access(access.subject, access.held, CONTENT_REACH)
        assert not any(narrow.may_govern(right) for right in Right)
        assert narrow.may_read(Kind.EPISODE, YOU, [GLOBAL_SCOPE])
        mute = Access(access.subject, access.held, frozenset())
        assert mute.readable(Kind.EPISODE) == frozenset()
        assert not mute.may_delete(Kind.EPISODE, ME)
        assert not mute.may_create()


# -- beside a naive model ----------------------------------------------------------------------------------------

rights = st.frozensets(st.sampled_from(Right))
accesses = st.builds(
    Access,
    st.sampled_from((None, ME, YOU)),
    st.dictionaries(st.sampled_from((GLOBAL_SCOPE, LAB, CLUB)), rights),
    st.frozensets(st.sampled_from(Reach)) | st.just(ALL_REACH),
)


def naive_holds(access: Access, right: Right, scope: str) -> bool:
    if access.subject is not None and scope == id_text(access.subject):
        return True
    return any(right == one for at, held in access.held.items() if at == scope for one in held)


def naive_reads(access: Access, kind: str, owner: bytes, published: Iterable[str]) -> bool:
    if "read" not in access.reach:
        return False
    return owner == access.subject or any(
        naive_holds(access, Right(f"{kind}_read"), scope) for scope in published
    )


@settings(max_examples=300, deadline=None)
@given(accesses, st.sampled_from(Kind), st.sampled_from((ME, YOU)), st.frozensets(st.sampled_from(SCOPES)))
def test_reading_is_what_the_model_says_asked_of_an_object_or_of_all(
    access: Access, kind: Kind, owner: bytes, published: frozenset[str]
) -> None:
    expected = naive_reads(access, kind, owner, published)
    assert access.may_read(kind, owner, published) == expected
    own = Reach.READ in access.reach and owner == access.subject
    assert (own or bool(published & access.readable(kind))) == expected


@settings(max_examples=300, deadline=None)
@given(accesses, st.sampled_from(Kind), st.sampled_from((ME, YOU)), st.sampled_from(SCOPES))
def test_changing_is_what_the_model_says(access: Access, kind: Kind, owner: bytes, target: str) -> None:
    mine = owner == access.subject
    create, read, delete = (
        naive_holds(access, Right(f"{kind}_{verb}"), target) for verb in ("create", "read", "delete")
    )
    publishes, deletes = "publish" in access.reach, "delete" in access.reach
    everywhere = naive_holds(access, Right(f"{kind}_delete"), "global")
    assert access.may_publish(kind, owner, target) == (publishes and mine and create)
    assert access.may_unpublish(kind, owner, target) == (publishes and (mine or (read and delete)))
    assert access.may_delete(kind, owner) == (deletes and (mine or everywhere))


@settings(max_examples=300, deadline=None)
@given(accesses, rights, st.sampled_from((LAB, CLUB)))
def test_who_gives_could_do_it_himself(access: Access, given_rights: frozenset[Right], scope: str) -> None:
    if not access.may_give(given_rights, scope):
        return
    held = access.held.get(scope, frozenset()) | access.held.get(GLOBAL_SCOPE, frozenset())
    assert given_rights <= held
    assert {Right.GROUP_UPDATE, Right.USER_READ} <= held
    content = {right for right in given_rights if right.partition("_")[0] in set(Kind)}
    if Right.GROUP_UPDATE not in access.held.get(GLOBAL_SCOPE, ()):
        assert content <= access.held.get(scope, frozenset())
