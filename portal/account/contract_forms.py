"""The forms of contracts and their contacts. What is true of the data is checked below, where it is stored."""

from collections.abc import Iterable

from flask_wtf import FlaskForm
from flask_wtf.file import FileField
from wtforms import BooleanField, EmailField, HiddenField, SelectField, StringField, TextAreaField
from wtforms.validators import DataRequired, InputRequired, Optional

from portal.account import contacts, orders, past
from portal.account.forms import CivilDateField
from portal.account.models import Contract, User
from portal.account.orders import Order
from portal.clock import time_zones
from portal.config import current_settings
from portal.errors import Invalid
from portal.products.models import Product
from portal.web.forms import refuse

OTHER_DOMAIN = "This address is right, although it is at another domain"


def zones() -> dict[str, str]:
    """The time zones to choose from."""
    return {zone: zone for zone in sorted(time_zones())}


def regions(known: str = "") -> dict[str, str]:
    """The regions to choose from, with `known` if it is none of them any more."""
    return {"": "None"} | {name: name for name in (*current_settings().regions, known) if name}


class _WithDomain(FlaskForm):
    """A form with an address, which asks once more when it is at a domain that is not the organisation's."""

    other_domain = BooleanField(OTHER_DOMAIN)

    def domain_is_right(self, organization_id: int, organization: str, addresses: Iterable[str | None] = ()) -> bool:
        """Whether the addresses are where the organisation's people are, or were confirmed; says what is unlike otherwise."""
        usual = contacts.usual_domains(organization_id)
        unlike = [domain for domain in map(_domain_of, addresses) if domain and domain not in usual]
        if not usual or not unlike or self.other_domain.data:
            return True
        self.other_domain.errors = [
            f"The address is at {unlike[0]}; the people of {organization} are at {_words(sorted(usual))}. "
            "Correct it, or tick the box and send again."
        ]
        return False


def _domain_of(address: str | None) -> str:
    local, _, domain = (address or "").rpartition("@")
    return domain.strip().lower() if local else ""


def _words(domains: list[str], most: int = 3) -> str:
    shown = domains[:most] + (["others"] if len(domains) > most else [])
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


class ContactForm(_WithDomain):
    """A person named to a seat. `hand_over` is asked of contacts who give their own seat away; it holds for one address (`confirmed`)."""

    name = StringField("Name or role of the new contact", [DataRequired("Enter a name.")], render_kw={"autocomplete": "off"})
    email = EmailField("Work email of the new contact", [DataRequired("Enter an email address.")], render_kw={"autocomplete": "off"})
    hand_over = BooleanField("I hand over my own seat, and lose access at once")
    confirmed = HiddenField()

    def is_right_for(self, organization_id: int, organization: str) -> bool:
        return self.domain_is_right(organization_id, organization, [self.email.data])

    def hand_over_is_confirmed(self) -> bool:
        """Whether the box was ticked under the successor's address; shows the box, with the address, otherwise."""
        if self.hand_over.data and self.confirmed.data == self.email.data:
            return True
        self.hand_over.data, self.confirmed.data = False, self.email.data
        self.hand_over.errors = [f"Your own seat goes to {self.name.data}, {self.email.data}. Check the address, then tick the box."]
        return False


class AddressForm(_WithDomain):
    email = EmailField("Right email address", [DataRequired("Enter an email address.")], render_kw={"autocomplete": "off"})

    def is_right_for(self, organization_id: int, organization: str) -> bool:
        return self.domain_is_right(organization_id, organization, [self.email.data])


class CorrectionForm(_WithDomain):
    """Another address for a customer, by staff, who say why."""

    email = EmailField("Right email address", [DataRequired("Enter an email address.")], render_kw={"autocomplete": "off"})
    reason = StringField(
        "Reason", [DataRequired("Say why, and how you know that it is them.")], render_kw={"autocomplete": "off", "maxlength": 200}
    )

    def is_right_for(self, person: User) -> bool:
        """Whether the address is where the person's organisation is, or was confirmed; somebody without one may be anywhere."""
        home = person.organization
        return home is None or self.domain_is_right(home.id, home.name, [self.email.data])


class OrderForm(FlaskForm):
    """What a term costs, and by which order. What is left empty is as usual."""

    price = StringField("Price of the term", render_kw={"autocomplete": "off", "inputmode": "decimal"})
    currency = StringField("Currency", render_kw={"autocomplete": "off", "maxlength": 3})
    order_reference = StringField("Order reference", render_kw={"autocomplete": "off", "maxlength": 80})

    def order(self, instead: Order) -> Order:
        """Return what was typed. Raises Invalid at its field."""
        return orders.read(self.price.data, self.currency.data, self.order_reference.data, instead=instead)

    def propose(self, order: Order) -> None:
        """Show an order in the fields of a form that was not sent."""
        self.price.data, self.currency.data = orders.write_price(order.price_cents), order.currency
        self.order_reference.data = order.reference


class RenewForm(OrderForm):
    """Renews a contract by the term that was shown, so that a second press does not add another year."""

    starts_on = CivilDateField("First day", [DataRequired("Look at the new term, then renew.")])


class PlaceForm(FlaskForm):
    """Where a contract is supported from, and by whose midnight."""

    region = SelectField("Support region")
    time_zone = SelectField("Time zone of the contract")

    def __init__(self, known_region: str, **options: object) -> None:
        super().__init__(**options)
        self.region.choices, self.time_zone.choices = regions(known_region), zones()


class NewContractForm(OrderForm, _WithDomain):
    number = StringField("Contract number", [DataRequired("Enter the contract's number.")], render_kw={"autocomplete": "off"})
    organization = StringField(
        "Organisation", [DataRequired("Enter the organisation's name.")], render_kw={"list": "organizations", "autocomplete": "off"}
    )
    product = SelectField("Product", [DataRequired("Choose the product.")])
    region = SelectField("Support region", default="")
    starts_on = CivilDateField("First day", [InputRequired("Enter the first day of the term.")])
    ends_on = CivilDateField("Last day", [Optional()])
    time_zone = SelectField("Time zone of the contract")
    name1 = StringField("Name of the first contact", render_kw={"autocomplete": "off"})
    email1 = StringField("Email address of the first contact", render_kw={"autocomplete": "off", "type": "email"})
    name2 = StringField("Name of the second contact", render_kw={"autocomplete": "off"})
    email2 = StringField("Email address of the second contact", render_kw={"autocomplete": "off", "type": "email"})

    def __init__(self, products: Iterable[Product], **options: object) -> None:
        super().__init__(**options)
        choices = {product.slug: product.name for product in products}
        # Of several, none is chosen before somebody chose: the first of the alphabet would be taken in a hurry.
        self.product.choices = choices if len(choices) == 1 else {"": "Choose a product", **choices}
        self.region.choices, self.time_zone.choices = regions(), zones()


class DayForm(FlaskForm):
    """A day to look at. It changes nothing, so its address can be kept and sent."""

    class Meta:
        csrf = False

    on = CivilDateField("Day", [Optional()])

    def look_at(self, contract: Contract) -> past.Day | None:
        """Return the day that was asked for, if one was and it can be read; what is wrong with it stands at the field."""
        if not self.validate() or self.on.data is None:
            return None
        try:
            return past.on_day(contract, self.on.data)
        except Invalid as error:
            refuse(self, error)
            return None


class ImportForm(FlaskForm):
    """Contracts as CSV: a file, or rows that are pasted in. What was checked stays in the text, so that it can be imported."""

    file = FileField("CSV file")
    text = TextAreaField("Or paste the rows", render_kw={"rows": 8, "spellcheck": "false", "autocomplete": "off"})
    no_invitations = BooleanField("Send no invitations; notices start all the same")

    def content(self) -> bytes:
        """Return the file, or else the text. Raises Invalid (field `file`) when there is neither."""
        sent: bytes = self.file.data.read() if self.file.data else b""
        content = sent or (self.text.data or "").encode()
        if not content.strip():
            raise Invalid("Choose a file, or paste its rows.", "file")
        return content
