"""structlog and gguf without the optional libraries that both would load: 7 MB less memory for a device.

structlog takes rich, to show tracebacks with local variables, which no log of ours does. gguf takes sentencepiece, for
a converter that we do not use. Import this before anything that imports either.
"""

import sys

_OPTIONAL = ("rich", "sentencepiece")

_barred = [name for name in _OPTIONAL if name not in sys.modules]
for _name in _barred:
    sys.modules[_name] = None  # type: ignore[assignment] # to Python: it cannot be imported
try:
    import gguf  # noqa: F401 - see above
    import structlog  # noqa: F401
finally:
    for _name in _barred:
        del sys.modules[_name]
