"""The user's own processors: one Python file each, found by its name, imported only when a goal uses it."""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from pathlib import Path

from crosswalk.core.errors import ConfigError
from crosswalk.processors.base import FrameProcessor


def own_processors(folder: Path | None) -> dict[str, Path]:
    """Name -> file of every processor in the folder; files that begin with ``_`` are none."""
    folder = folder or Path(os.environ.get("CROSSWALK_PROCESSORS") or "include/processors").absolute()
    if not folder.is_dir():
        return {}
    return {path.stem: path for path in sorted(folder.glob("*.py")) if not path.name.startswith("_")}


def load_own(name: str, path: Path) -> type[FrameProcessor]:
    """Import the file and take its one processor class.

    Raises:
        ConfigError: it cannot be imported, or holds no processor or several.
    """
    module_name = f"crosswalk_own_processors.{name}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise ConfigError("The file is not a Python module.", file=str(path), code="own_processor")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[module_name]
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = error.lineno if isinstance(error, SyntaxError) else frames[-1].lineno if frames else None
        raise ConfigError(
            f"The processor could not be loaded: {type(error).__name__}: {error}.",
            file=str(path),
            line=line,
            code="own_processor",
        ) from error
    found = [
        item
        for item in vars(module).values()
        if isinstance(item, type) and issubclass(item, FrameProcessor) and item.__module__ == module_name
    ]
    if len(found) != 1:
        raise ConfigError(
            f"The file holds {len(found)} classes derived from FrameProcessor; it must hold one.",
            file=str(path),
            code="own_processor",
        )
    return found[0]
