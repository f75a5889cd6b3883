"""Implementation of ``python -m reid.compare``: test two runs or feature files on the same queries."""

import json
import sys
from typing import Any

import numpy as np

from engine.errors import UserError, check_ranges
from engine.files import check_targets, write_json
from reid.compare import CompareOptions
from reid.evaluation.bootstrap import compare
from reid.evaluation.feature_origin import open_features, protocol_of
from reid.evaluation.report import check, evaluate_features


def compare_two(options: CompareOptions) -> dict[str, Any]:
    """Evaluate two runs or feature files on the same queries and test the difference; print the numbers as JSON.

    Returns:
        The numbers, as printed.

    Raises:
        UserError: the two inputs have different query or gallery labels.

    Source: see :func:`reid.evaluation.bootstrap.compare`.
    """
    protocol = protocol_of(options)
    check(protocol)
    check_ranges(options, batch_size=(1, None), workers=(0, None))
    check_targets(options.json_file, inputs=(options.one, options.other))
    first, second = (open_features(options, path).features for path in (options.one, options.other))
    if not all(np.array_equal(a, b) for a, b in zip(first.labels, second.labels, strict=True)):
        raise UserError("the query or gallery labels of the two inputs differ: evaluate both on the same test set")
    reports = [evaluate_features(features, protocol) for features in (first, second)]
    resamples = options.resamples or 2000
    differences = compare(
        *(report.per_query for report in reports), first.labels.query_ids, resamples=resamples, seed=options.seed
    )
    for name, row in differences.items():
        values = " - ".join(f"{report.numbers[name]:6.2f}" for report in reports)
        interval = f"95 % [{row['low']:+.2f}, {row['high']:+.2f}]"
        print(f"{name:14} {values} = {row['difference']:+.2f}  {interval}  p {row['p']:.4f}", file=sys.stderr)
    numbers = {"compare": [options.one, options.other], **differences}
    write_json(numbers, options.json_file, indent=None)
    print(json.dumps(numbers))
    return numbers
