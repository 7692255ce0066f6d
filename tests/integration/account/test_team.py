"""Who may give roles stays somebody: also when two admins are taken at once."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from flask import Flask

from portal import clock
from portal.account import people, team
from portal.account.models import User
from portal.database import db, transaction
from portal.errors import Conflict, Invalid
from portal.web.guards import STAFF_ROLES
from tests.cast import Cast


def find(email: str) -> User:
    person = people.find_person(email)
    assert person is not None
    return person


def test_of_two_admins_who_take_the_role_from_each_other_at_once_one_stays(app: Flask, cast: Cast) -> None:
    with app.app_context(), transaction():
        team.set_roles(find(cast.paula), ["admin"], STAFF_ROLES, actor=None, now=clock.now())
    start = Barrier(2)

    def take(email: str) -> bool:
        with app.app_context():
            start.wait()
            try:
                with transaction():
                    team.set_roles(find(email), ["support"], STAFF_ROLES, actor=None, now=clock.now())
            except Conflict:
                return False
            finally:
                db.session.remove()
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(take, [cast.ada, cast.paula])) == [False, True]
    with app.app_context():
        admins = [one for one in team.members(clock.now()) if "admin" in one.person.role_names]
        assert len(admins) == 1


@pytest.mark.usefixtures("app_context")
def test_an_unknown_role_is_refused(cast: Cast) -> None:
    with pytest.raises(Invalid), transaction():
        team.set_roles(find(cast.paula), ["emperor"], STAFF_ROLES, actor=None, now=clock.now())
    assert find(cast.paula).role_names == {"publisher"}


@pytest.mark.usefixtures("app_context")
def test_saving_the_same_roles_signs_nobody_out(cast: Cast) -> None:
    before = find(cast.paula).fs_uniquifier
    with transaction():
        team.set_roles(find(cast.paula), ["publisher"], STAFF_ROLES, actor=None, now=clock.now())
    assert find(cast.paula).fs_uniquifier == before
    with transaction():
        team.set_roles(find(cast.paula), ["publisher", "product"], STAFF_ROLES, actor=None, now=clock.now())
    assert find(cast.paula).fs_uniquifier == before, "gaining a role ends no session"
