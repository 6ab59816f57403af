"""The classes of PySODMetrics 1.6.2 on top of this library's metrics: changing the import line is the migration.

Names, constructor arguments, `step`, `get_results` and the lists of per-image results are PySODMetrics'. Objects that
are stepped side by side with the same pair share what is computed from it. The numbers are those of PySODMetrics, but
for what it gets wrong in silence: masks of 0 and 1 are an error and bool masks are taken as they are, where there both
count as empty; S is finite where a quadrant of the image is empty; E of a single pixel is at most 1; results before
the first `step` are an error instead of NaN.
"""

from dynamic_kd.compat.py_sod_metrics._fmeasure_v2 import FmeasureV2 as FmeasureV2
from dynamic_kd.compat.py_sod_metrics._fmeasure_v2 import SizeInvarianceFmeasureV2 as SizeInvarianceFmeasureV2
from dynamic_kd.compat.py_sod_metrics._handlers import BERHandler as BERHandler
from dynamic_kd.compat.py_sod_metrics._handlers import DICEHandler as DICEHandler
from dynamic_kd.compat.py_sod_metrics._handlers import FmeasureHandler as FmeasureHandler
from dynamic_kd.compat.py_sod_metrics._handlers import FPRHandler as FPRHandler
from dynamic_kd.compat.py_sod_metrics._handlers import IOUHandler as IOUHandler
from dynamic_kd.compat.py_sod_metrics._handlers import KappaHandler as KappaHandler
from dynamic_kd.compat.py_sod_metrics._handlers import OverallAccuracyHandler as OverallAccuracyHandler
from dynamic_kd.compat.py_sod_metrics._handlers import PrecisionHandler as PrecisionHandler
from dynamic_kd.compat.py_sod_metrics._handlers import RecallHandler as RecallHandler
from dynamic_kd.compat.py_sod_metrics._handlers import SensitivityHandler as SensitivityHandler
from dynamic_kd.compat.py_sod_metrics._handlers import SpecificityHandler as SpecificityHandler
from dynamic_kd.compat.py_sod_metrics._handlers import TNRHandler as TNRHandler
from dynamic_kd.compat.py_sod_metrics._handlers import TPRHandler as TPRHandler
from dynamic_kd.compat.py_sod_metrics._scores import MAE as MAE
from dynamic_kd.compat.py_sod_metrics._scores import CamouflageContextMeasure as CamouflageContextMeasure
from dynamic_kd.compat.py_sod_metrics._scores import ContextMeasure as ContextMeasure
from dynamic_kd.compat.py_sod_metrics._scores import Emeasure as Emeasure
from dynamic_kd.compat.py_sod_metrics._scores import Fmeasure as Fmeasure
from dynamic_kd.compat.py_sod_metrics._scores import HumanCorrectionEffortMeasure as HumanCorrectionEffortMeasure
from dynamic_kd.compat.py_sod_metrics._scores import MSIoU as MSIoU
from dynamic_kd.compat.py_sod_metrics._scores import SizeInvarianceMAE as SizeInvarianceMAE
from dynamic_kd.compat.py_sod_metrics._scores import Smeasure as Smeasure
from dynamic_kd.compat.py_sod_metrics._scores import WeightedFmeasure as WeightedFmeasure
