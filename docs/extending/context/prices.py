"""What a parcel costs."""


def price_of(grams: int) -> int:
    """The price in cents."""
    return 400 + grams // 100 * 50
