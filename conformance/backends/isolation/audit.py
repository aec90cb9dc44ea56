"""What a backend does beside answering, seen by an audit hook (PEP 578) that nobody can take out.

An act is told to the suite at once, before Python lets it happen.  The hook goes by the events that
Python raises: what machine code does on its own raises none.  Who did it is told by the files that
the frames name.  While a backend runs, nothing written in Python elsewhere is called here, for it
could be replaced.
"""

from __future__ import annotations

import builtins
import os
import struct
import sys
from _thread import get_ident
from collections.abc import Callable, Sequence
from importlib.util import module_from_spec
from types import CodeType, FrameType, MappingProxyType
from typing import Any, TypeAlias

from msgpack import packb

try:
    from resource import RUSAGE_CHILDREN
    from resource import getrusage as _getrusage
except ImportError:  # not on every system
    _getrusage = None  # type: ignore[assignment]

CALLERS, OBJECTS = "looked at its callers", "looked through all objects"
OTHERS, STARTED, NETWORK = "looked at other processes", "started processes", "used the network"
NATIVE = "called the interpreter or the system by a C name"
LOADED, REFUSED = "loaded", "was refused"
SHOWN = (CALLERS, OBJECTS, OTHERS, STARTED, NETWORK, NATIVE)  # each a line of the certificate
ANYBODY_S = frozenset((STARTED, NETWORK))  # told whichever library does it
MOST, LONGEST = 64, 60  # subjects of an act, and letters of a subject
UNCLEAR = "unclear"

Args: TypeAlias = tuple[Any, ...]
Read: TypeAlias = Callable[[Args], str | None]
Note: TypeAlias = Callable[[str, str], None]
Is: TypeAlias = Callable[[str], bool]
Who: TypeAlias = Callable[[FrameType | None, str, Args], str]
Load: TypeAlias = Callable[[str, Args], str | None]

_getframe, _modules, _getpid, _fspath = sys._getframe, sys.modules, os.getpid, os.fspath  # noqa: SLF001
_addaudithook, _waitid = sys.addaudithook, getattr(os, "waitid", None)
_ANY = getattr(os, "P_ALL", 0), 0, sum(getattr(os, n, 0) for n in ("WEXITED", "WNOHANG", "WNOWAIT"))
_length = struct.Struct("<I").pack
_str, _decode = str.__str__, bytes.decode  # of subclasses too, whatever those define

STDLIB = f"{os.path.dirname(os.__file__)}/"  # noqa: PTH120
SUITE = f"{os.path.dirname(os.path.dirname(os.path.dirname(__file__)))}/"  # noqa: PTH120
COMPOSED = f"{SUITE}operators/composed.py"  # it asks which module calls it
AT_ONCE = f"{os.path.dirname(os.path.dirname(__file__))}/at_once.py"  # noqa: PTH120
NAMESPACE = __name__.partition(".")[0]
SOURCES = (".py", ".cu", ".cuh")
INSTALLED = ("/site-packages/", "/dist-packages/")  # in the name of a library's file
# They look at frames to name a class, a log's line or an error's, and hand none on.
QUIET = frozenset(
    f"{STDLIB}{name}.py"
    for name in (
        "collections/__init__", "dataclasses", "enum", "logging/__init__", "traceback", "typing",
    )
)  # fmt: skip
FRAMES = frozenset(("tb_frame", "f_code", "gi_frame", "cr_frame", "ag_frame"))
INTERPRETER = (
    "PyEval_", "PyFrame_", "PyGC_", "PyInterpreterState_", "PySys_", "PyThreadState_",
    "Py_NewInterpreter", "_Py",
)  # fmt: skip
SYSTEM = frozenset(
    (
        "clone", "connect", "execv", "execve", "execvp", "fork", "getaddrinfo", "popen",
        "posix_spawn", "posix_spawnp", "process_vm_readv", "process_vm_writev", "ptrace", "socket",
        "syscall", "system", "vfork",
    )
)  # fmt: skip


def apart() -> Any:
    """Return this module once more, with names and builtins that nobody else can replace."""
    assert __spec__ is not None and __spec__.loader is not None  # noqa: S101, PT018
    module = module_from_spec(__spec__)
    module.__dict__["__builtins__"] = dict(vars(builtins))
    __spec__.loader.exec_module(module)
    return module


def watch(
    send: Callable[[bytes], object], source: str, path: Sequence[str], forbidden: Sequence[str]
) -> Callable[[], list[list[str]]]:
    """Watch this process from now on; return what returns every act so far, with its subject.

    `source` is the backend's import path and `path` where modules are found; `forbidden` modules
    are refused, whoever imports them and however.
    """
    note, told = _teller(send)
    lost: set[str] = set()  # acts that could not be told, as where the stack has no room
    installed = _installed(path)
    who, load = _who(source, path, installed), _loads(path, installed, forbidden, note)
    _addaudithook(_hook(note, who, load, lost))

    def done() -> list[list[str]]:
        for act in [*lost]:
            note(act, UNCLEAR)
        if not any(act == STARTED for act, _ in told) and _has_had_children():
            note(STARTED, UNCLEAR)
        return [[*one] for one in told]

    return done


def _hook(note: Note, who: Who, load: Load, lost: set[str]) -> Callable[[str, Args], None]:
    """Return the hook, which raises nothing but that a module is forbidden."""
    busy: set[int] = set()  # threads in which it raises events itself

    def hook(event: str, args: Args) -> None:
        known, me = EVENTS.get(event), get_ident()
        if known is None or me in busy:
            return
        act, read = known
        refused = None
        try:
            if act is LOADED:
                refused = load(event, args)
            elif (subject := read(args)) is not None:
                busy.add(me)
                name = who(_getframe(1), event, args)
                if name or act in ANYBODY_S:
                    note(act, subject or name)
        except Exception:  # noqa: BLE001 - it must not reach whoever raised the event
            lost.add(act)
        finally:
            busy.discard(me)
        if refused is not None:
            raise ModuleNotFoundError(f"{refused} is forbidden by --forbid", name=refused)

    return hook


def add(acts: dict[str, list[str]], told: Any) -> None:
    """Add what a worker told, a list of acts with their subjects; it may have told anything."""
    for one in told if isinstance(told, list) else ():
        if not (isinstance(one, list) and len(one) == 2 and all(isinstance(s, str) for s in one)):
            continue
        act, subject = one[0], "".join(c if c.isprintable() else "?" for c in one[1][:LONGEST])
        known = acts.setdefault(act, []) if act in (*SHOWN, LOADED, REFUSED) else [subject]
        if subject not in known and len(known) <= MOST:
            known.append(subject)


# -- what is told ---------------------------------------------------------------------------------


def _teller(send: Callable[[bytes], object]) -> tuple[Note, dict[tuple[str, str], None]]:
    """Return what tells of an act once, and all that it told of."""
    told: dict[tuple[str, str], None] = {}

    def note(act: str, subject: str) -> None:
        one = act, subject[:LONGEST].encode("ascii", "backslashreplace").decode()[:LONGEST]
        if one in told:
            return
        if sum(act == other for other, _ in told) >= MOST:
            one = act, "others"
        if one not in told:
            told[one] = None
            content = packb({"did": one})
            try:
                send(_length(len(content)) + content)
            except OSError:
                return  # the line is closed: `done` still has it

    return note, told


def _has_had_children() -> bool:
    """Return whether this process has a child, or had one and waited for it."""
    if _getrusage is not None and _getrusage(RUSAGE_CHILDREN).ru_maxrss:
        return True
    if _waitid is None:
        return False
    try:
        _waitid(*_ANY)
    except OSError:
        return False
    return True


# -- who does it ----------------------------------------------------------------------------------


def _who(source: str, path: Sequence[str], installed: Is) -> Who:
    """Return what tells the module that did something, "" where that is another library's."""
    module, file = source.partition(":")[0], source.partition("!")[2].partition("@")[0]
    if file.endswith(".py"):
        module = file.rpartition("/")[2].removesuffix(".py")
    # Of functions that an adapter is given, all modules are the backend's own.
    given = [item.rpartition("=")[2] for item in source.partition("!")[2].split(",")]
    own = [item.partition(":")[0] for item in given if item[:1] not in ("/", "")]
    if own and not file.endswith(SOURCES):
        module = own[0]
    tops, dotted = {one.partition(".")[0] for one in (module, *own)}, _names(path)

    def who(frame: FrameType | None, event: str, args: Args) -> str:
        if frame is not None and _is_quiet(frame, event, args):
            return ""
        while frame is not None:
            file = _file(frame)
            name = dotted(file)
            if file.startswith(SUITE):
                return module
            if name.partition(".")[0] in tops:
                return name
            if installed(file):
                return ""
            if not file.startswith(("<", STDLIB)):
                return name
            frame = frame.f_back
        return module

    return who


def _is_quiet(frame: FrameType, event: str, args: Args) -> bool:
    """Return whether Python's library looks for its own use, and not at the suite's frames."""
    file, back = _file(frame), frame.f_back
    if file == AT_ONCE and event == "sys.settrace":  # between the lines of two calls at once
        return True
    if file == COMPOSED and event == "sys._getframe":
        return True
    if file not in QUIET:
        return False
    alone = _text(frame.f_code.co_name) in ("namedtuple", "make_dataclass")
    if not alone and (back is None or _file(back) != file):
        return False
    looked_at = args[0] if event == "object.__getattr__" else None
    return type(looked_at) is not FrameType or not _file(looked_at).startswith(SUITE)


def _file(frame: FrameType) -> str:
    return _text(frame.f_code.co_filename)


def _installed(path: Sequence[str]) -> Is:
    """Return what tells whether a file is a library's that was installed."""
    folders = tuple(f"{root.rstrip('/')}/" for root in path if _has_libraries(root))

    def installed(file: str) -> bool:
        return file.startswith(folders) or any(part in file for part in INSTALLED)

    return installed


def _has_libraries(folder: str) -> bool:
    try:
        return any(name.endswith(".dist-info") for name in os.listdir(folder))  # noqa: PTH208
    except OSError:
        return False


def _names(path: Sequence[str]) -> Callable[[str], str]:
    """Return what names the module that a file is."""
    roots = sorted({f"{root.rstrip('/')}/" for root in path if root}, key=len, reverse=True)

    def dotted(file: str) -> str:
        root = next((root for root in roots if file.startswith(root)), "")
        name = file[len(root) :] if root else file.rpartition("/")[2]
        return name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    return dotted


def _loads(path: Sequence[str], installed: Is, forbidden: Sequence[str], note: Note) -> Load:
    """Return what notes a library whose code is about to run, or says that it is forbidden.

    Whether it stays in the table of modules does not matter: where a file's code runs as a
    module's, or machine code is taken in as one, that module is loaded.
    """
    before, dotted = frozenset(_modules), _names(path)

    def load(event: str, args: Args) -> str | None:
        if event == "import":
            name, file = _text(args[0]), _text(args[1])
        else:
            code = args[0]
            if type(code) is not CodeType or _text(code.co_name) != "<module>":
                return None
            file = _text(code.co_filename)
            name = "" if file.startswith("<") else dotted(file)
        for one in forbidden:
            if name == one or name.startswith(f"{one}."):
                note(REFUSED, one)
                return one
        top = library(name)
        if installed(file) and top not in (*before, NAMESPACE) and not top.startswith("_"):
            note(LOADED, top)
        return None

    return load


def library(name: str) -> str:
    """Return what a module is part of: a top-level one, or a package of ours, as `oracle` is."""
    top, dot, rest = name.partition(".")
    return f"{top}{dot}{rest.partition('.')[0]}" if top == NAMESPACE else top


# -- what it is done to: "" leaves it at who did it, None says that it is no act ------------------


def _anything(_: Args) -> str | None:
    return ""


def _frame(args: Args) -> str | None:
    return "" if type(args[1]) is str and args[1] in FRAMES else None


def _other(args: Args) -> str | None:
    """Return which file of another process a path is, or that it lists processes."""
    path, parts = _path(args[0]), list[str]()
    if "proc" not in path:
        return None
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    if parts[:1] != ["proc"]:
        return None
    while "proc" in parts:  # /proc/self/root leads there again
        del parts[: parts.index("proc") + 1]
    if not parts:
        return "/proc"
    if not parts[0].isdecimal() or int(parts[0]) == _getpid():
        return None
    return "/".join(["/proc/*", *parts[1:2]])


def _program(args: Args) -> str | None:
    return _path(args[0]).rpartition("/")[2] or UNCLEAR


def _second_program(args: Args) -> str | None:
    return _program(args[1:])


def _command(args: Args) -> str | None:
    return _program((*_path(args[0]).split()[:1], ""))


def _first_program(args: Args) -> str | None:
    return _program((*args[0],))


def _copy(_: Args) -> str | None:
    return "a copy of itself"


def _interpreter(_: Args) -> str | None:
    return "an interpreter"


def _host(args: Args) -> str | None:
    return _text(args[0]) or UNCLEAR


def _address(args: Args) -> str | None:
    address = args[-1]
    return _host(address) if type(address) is tuple and address else _text(address) or UNCLEAR


def _symbol(args: Args) -> str | None:
    name = _text(args[1])
    return name if name.startswith(INTERPRETER) or name in SYSTEM else None


def _path(value: Any) -> str:
    """Return a path as text; what is no path, as nothing."""
    if not issubclass(type(value), str | bytes) and hasattr(type(value), "__fspath__"):
        value = _fspath(value)
    return _text(value)


def _text(value: Any) -> str:
    if issubclass(type(value), str):
        return _str(value)
    return _decode(value, "utf-8", "replace") if issubclass(type(value), bytes) else ""


EVENTS: MappingProxyType[str, tuple[str, Read]] = MappingProxyType(
    {
        **dict.fromkeys(("import", "exec"), (LOADED, _anything)),
        **dict.fromkeys(
            (
                "sys._getframe", "sys._getframemodulename", "sys._current_frames",
                "sys._current_exceptions", "sys.settrace", "sys.setprofile",
                "sys.monitoring.register_callback", "sys.addaudithook",
            ),
            (CALLERS, _anything),
        ),
        "object.__getattr__": (CALLERS, _frame),
        **dict.fromkeys(
            ("gc.get_objects", "gc.get_referrers", "gc.get_referents"), (OBJECTS, _anything)
        ),
        **dict.fromkeys(("open", "os.listdir", "os.scandir", "os.chdir"), (OTHERS, _other)),
        **dict.fromkeys(("subprocess.Popen", "os.posix_spawn", "os.exec"), (STARTED, _program)),
        "os.spawn": (STARTED, _second_program),
        "os.system": (STARTED, _command),
        "pty.spawn": (STARTED, _first_program),
        **dict.fromkeys(("os.fork", "os.forkpty"), (STARTED, _copy)),
        "cpython.PyInterpreterState_New": (STARTED, _interpreter),
        **dict.fromkeys(("socket.getaddrinfo", "socket.gethostbyname"), (NETWORK, _host)),
        **dict.fromkeys(("socket.connect", "socket.sendto"), (NETWORK, _address)),
        **dict.fromkeys(("ctypes.dlsym", "ctypes.dlsym/handle"), (NATIVE, _symbol)),
    }
)  # fmt: skip
