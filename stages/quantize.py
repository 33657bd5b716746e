"""Make the weights that the adapter is trained over, once, from the base: `python -m stages.quantize`.

Training, evaluation, merging and serving all load `models/quantized`, so they have the same weights to the last bit, and
nothing is rounded twice. With `sft.method: qlora` the linear layers are rounded to 4-bit NF4, and written out in
`sft.dtype`; with `lora` it is the base in `sft.dtype`, in most cases the same bytes, which DVC's cache keeps once.
"""

from __future__ import annotations

import logging
import os

from hallmark.base.files import BASE, QUANTIZED, REPORTS, atomic_folder, sha256_folder, write_json
from hallmark.base.measured import measured
from hallmark.model.quantized import pin_rounding, write_quantized
from hallmark.params.loader import Params, run_with_params

log = logging.getLogger("quantize")


def run(params: Params) -> None:
    """Read `models/base`; write `models/quantized` and `reports/quantize.json`. No setting of `compute` changes them."""
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)  # warns of a kernel for inference
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    sft = params.sft
    with measured("quantize"), atomic_folder(QUANTIZED) as folder:
        rounded = write_quantized(BASE, folder, nf4=sft.method == "qlora", dtype=sft.dtype)
        files = sha256_folder(folder)
    report = {"method": sft.method, "dtype": sft.dtype, "rounded_parameters": rounded, "files": files}
    write_json(REPORTS / "quantize.json", report)
    log.info("%s: %.1f million parameters rounded to NF4", QUANTIZED, rounded / 1e6)


if __name__ == "__main__":
    pin_rounding(os.environ)
    run_with_params("quantize", __doc__, run)
