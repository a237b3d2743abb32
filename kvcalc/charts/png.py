"""SVG as PNG, by resvg: the extra `png`."""

from __future__ import annotations

from kvcalc.errors import CannotRunError

_ZOOM = 2.0
"""Pixels of a picture for each of its own, as screens have them."""


def refuse_missing() -> None:
    """Before anything is computed.

    Raises:
        CannotRunError: resvg is not there.
    """
    try:
        import resvg_py  # noqa: F401  # an extra
    except ImportError as error:
        raise CannotRunError(
            "--format: png needs resvg-py: python -m pip install 'resvg-py>=0.5'; svg needs nothing"
        ) from error


def png(svg: str) -> bytes:
    """The picture at twice its size.

    Raises:
        CannotRunError: resvg is not there.
    """
    refuse_missing()
    import resvg_py  # an extra

    return bytes(resvg_py.svg_to_bytes(svg_string=svg, zoom=_ZOOM, sans_serif_family="DejaVu Sans"))
