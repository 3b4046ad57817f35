"""The archive in SQL: its tables, how it is opened, read and exported. Needs the extra `orderlane[archive]`.

`state` alone needs nothing but msgspec: it is what an archiver says of itself in Redis.
"""
