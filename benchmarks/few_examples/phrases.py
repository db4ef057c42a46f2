"""The phrases of the two made data sets: each class has cores, which are dressed in openers, slots and closers.

Classes share words on purpose (a card that is lost, a card that is declined), so that single words do not decide.
"""

OPENERS = (
    "", "hi ,", "hello there ,", "good morning ,", "sorry to bother you ,", "quick question :", "please help :",
    "ok so", "i have a problem :", "just wondering ,", "hey team ,", "it is me again :",
)  # fmt: skip
CLOSERS = (
    "", ".", "please", "thanks", "as soon as possible", "today if you can", "i have tried twice already",
    "my friend told me to ask you", "and i am not happy", "could you look into it ?", "since {day}",
    "i am in {city} at the moment",
)  # fmt: skip
SLOTS = {
    "day": ("monday", "tuesday", "last week", "yesterday", "this morning", "the weekend", "march"),
    "city": ("lisbon", "chicago", "oslo", "lagos", "osaka", "leeds", "lima"),
    "thing": ("jacket", "lamp", "headphones", "blender", "bicycle", "book", "chair", "phone case"),
    "amount": ("12 euros", "40 dollars", "a few pounds", "99 cents", "250", "half of my salary"),
    "person": ("my sister", "my landlord", "a colleague", "my son", "the plumber", "an old friend"),
}

TICKETS = {
    "billing": (
        "i was charged twice for the {thing}", "the invoice for the {thing} shows the wrong amount",
        "why did {amount} leave my account", "the discount was not taken off when i paid",
        "you took {amount} after i had cancelled", "my receipt for the {thing} has another name on it",
        "the price at the checkout was higher than on the page", "i need the invoice of {day} with our tax number",
    ),
    "shipping": (
        "the {thing} has not arrived", "the parcel went to {city} instead of here", "when will the {thing} be here",
        "the courier left the {thing} in the rain", "the tracking page has not changed since {day}",
        "can you send the {thing} to {person} instead", "the box came but the {thing} was not in it",
        "nobody rang the bell and now it says delivered",
    ),
    "returns": (
        "i want to send the {thing} back", "the {thing} is broken , can i get another one",
        "how long do i have until i must give the {thing} back", "the {thing} is too small , i would like to swap it",
        "where is the label that goes on the box for the {thing}", "i sent the {thing} back and have heard nothing",
        "{person} already has this {thing} , will you take it", "can i bring the {thing} back to the shop in {city}",
    ),
    "account": (
        "i cannot log in", "the code that you send never reaches my phone", "please change the address to {city}",
        "how do i delete everything you know about me", "{person} and i want to share one login",
        "my name is spelt wrong on every page", "someone else has ordered with my login",
        "the page asks for a password that i never chose",
    ),
}  # fmt: skip

INTENTS = {
    "activate card": ("my new card came , how do i switch it on", "the card does not work yet , must i enable it"),
    "lost card": ("i cannot find my card", "i think i left my card in {city}"),
    "stolen card": ("somebody took my card", "my wallet was robbed in {city} with the card in it"),
    "card declined": ("the shop refused my card", "my card was turned down when i bought a {thing}"),
    "card swallowed": ("the machine kept my card", "the atm in {city} did not give my card back"),
    "card delivery": ("when will my new card be in the post", "the card that you sent has not come"),
    "virtual card": ("can i have a card only for the internet", "i want a card number without the plastic"),
    "change pin": ("i would like another pin", "how do i choose a new pin"),
    "forgot pin": ("i do not remember my pin", "which pin did you give me"),
    "pin blocked": ("i typed the pin wrongly three times", "my pin is locked"),
    "balance": ("how much money do i have", "what is left on my account"),
    "transfer failed": ("the money that i sent to {person} came back", "my transfer of {amount} did not go through"),
    "transfer pending": ("{person} still waits for my transfer", "how long does a transfer of {amount} take"),
    "cancel transfer": ("i sent {amount} to the wrong {person} , stop it", "can a transfer be taken back"),
    "receive money": ("{person} wants to pay me , what do they need", "how does {amount} get into my account"),
    "top up": ("how do i put {amount} on my account", "can i top up with another card"),
    "top up failed": ("the top up of {amount} did not work", "i tried to add {amount} and it was reverted"),
    "cash withdrawal fee": ("why did the atm cost me something", "there is a fee on the cash from {city}"),
    "wrong cash": ("the machine gave me less than {amount}", "i asked for {amount} and got too little cash"),
    "exchange rate": ("which rate do you use abroad", "the exchange rate on {day} was bad"),
    "change currency": ("i want to hold another currency", "can i exchange {amount} into dollars"),
    "direct debit unknown": ("there is a debit that i do not know", "somebody pulls {amount} from me each month"),
    "refund missing": ("the shop says that the {thing} was refunded , i see nothing", "where is my refund of {amount}"),
    "request refund": ("i want my money back for a {thing}", "please reverse what i paid for the {thing}"),
    "charged twice": ("the same {amount} left my account two times", "i paid for one {thing} and see it twice"),
    "verify identity": ("why must i show my passport", "how do i prove who i am"),
    "verification failed": ("you did not accept my passport", "my identity check was not successful"),
    "change address": ("i have moved to {city}", "please send letters to another address"),
    "close account": ("i want to leave you", "please delete my account"),
    "age limit": ("may my son have an account", "how old must one be to join"),
}
