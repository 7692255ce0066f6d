"""Account managers at work."""

from flask import Blueprint
from flask.typing import ResponseReturnValue

from portal.web.guards import protect, staff

contracts = Blueprint("contracts_staff", __name__, url_prefix="/staff/contracts")
protect(contracts, staff("accounts"))


@contracts.get("/")
def index() -> ResponseReturnValue:
    return "not built yet"


customers = Blueprint("customers_staff", __name__, url_prefix="/staff/customers")
protect(customers, staff("accounts"))


@customers.get("/", endpoint="index")
def customers_index() -> ResponseReturnValue:
    return "not built yet"
