"""Accept and Accept-Encoding (RFC 9110, 12.5): how much a client wants something."""


def quality(header: str, name: str) -> float:
    """The greatest q of the entries of `header` for exactly `name`, 0 to 1; 0 where there is none, or none readable."""
    best = 0.0
    for entry in header.split(","):
        value, *parameters = (part.strip().lower() for part in entry.split(";"))
        if value != name:
            continue
        weight = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        best = max(best, float(weight) if weight.replace(".", "", 1).isdecimal() and weight.isascii() else 0.0)
    return min(best, 1.0)
