"""Makes `processes` importable, here and in the processes it starts."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
