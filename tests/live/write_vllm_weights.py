"""Writes tests/data/vllm/weights-VERSION.json: bytes that ranks have of the models of planner-models.json.

    python tests/live/write_vllm_weights.py [NAME...]

With names of models, only those are asked, and nothing is written. What vLLM refuses is left out, and told.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import pretended_card
import vllm
from vllm_vectors import DATA
from vllm_weights import DEPLOYMENTS, configs, says
from write_vllm_vectors import VERSION


def main(names: list[str]) -> None:
    """Asks every model in every deployment that vLLM takes."""
    records = []
    for name, config in configs().items():
        if names and name not in names:
            continue
        text = config.get("text_config", config)
        experts = any(key in text for key in ("num_experts", "n_routed_experts", "num_local_experts"))
        for deployment in DEPLOYMENTS:
            if "ep" in deployment and not experts:
                continue
            try:
                said = says(config, deployment)
            except Exception as refusal:  # noqa: BLE001  # whatever vLLM raises: it does not serve this
                print(f"left out: {name} {deployment}: {refusal!r}"[:300], file=sys.stderr)
                continue
            records.append({"model": name, "deployment": deployment, "says": said})
            print(json.dumps(records[-1]), flush=True)
    if not names:
        head = {"engine": "vllm", "version": vllm.__version__, "card": pretended_card.NAME}
        body = ",\n".join(json.dumps(each) for each in records)
        path = DATA / f"weights-{VERSION}.json"
        path.write_text(f'{json.dumps(head)[:-1]}, "records": [\n{body}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
