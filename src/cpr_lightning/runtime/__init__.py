"""Faster ways to compute the network part of the cascade; :mod:`.choosing` installs one. All give what eager gives."""
