"""What a host records and decides by itself while its remote store is out of reach.

`store` stands before the remote one and is what runs talk to; `database` keeps what waits, `replay`
tells it to the remote store in its order, `last_known` remembers what that said last.
"""

__all__ = ["database", "decisions", "last_known", "on_demand", "replay", "store", "values"]
