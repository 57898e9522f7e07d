"""Names by which a pickle runs programs or code, opens connections or changes files when it is loaded."""

from __future__ import annotations

import re
from functools import lru_cache

_NAMES = re.compile(
    r"(builtins|__builtin__)\.(eval|exec|execfile|compile|__import__|open|input|breakpoint)"
    r"|_?io\.(open|open_code|FileIO)"
    r"|(os|posix|nt)\.(system|popen\w*|exec\w+|p?spawn\w+|posix_spawn\w*|fork\w*|startfile|kill\w*|putenv)"
    r"|(os|posix|nt)\.(remove\w*|unlink|rmdir|rename\w*|chmod|chown)"
    r"|(subprocess|_posixsubprocess|pty|runpy|webbrowser|ftplib|smtplib|telnetlib)\.\w+"
    r"|commands\.get\w*output|code\.(interact|Interactive\w+)"
    r"|shutil\.(rmtree|move|copy\w*)"
    r"|_?socket\.(socket|create_connection|create_server|getaddrinfo|gethostby\w+)"
    r"|urllib2?(\.request)?\.(urlopen|urlretrieve|build_opener|URLopener|FancyURLopener)"
    r"|(http\.client|httplib)\.HTTPS?Connection"
    r"|requests(\.api|\.sessions)?\.(get|post|put|patch|delete|head|options|request|session|Session)"
)


@lru_cache(maxsize=16384)
def executes(module: str, name: str) -> bool:
    """Whether what a pickle imports by this name runs a program or code, opens a connection, or changes files.

    Estimators are not made by such names; a function that was pickled by value may use them rightly. The list is not complete, and no
    list is: code has many ways to do the same. Sources: picklescan src/picklescan/scanner.py has a list of this kind;
    CPython 3.11 pickles ``os.system`` as ``posix.system`` (measured).
    """
    return _NAMES.fullmatch(f"{module}.{name}") is not None
