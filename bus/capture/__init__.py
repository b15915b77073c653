"""What a feed received and sent, as a file: records to bytes and back. Pure, no I/O.

``records`` says what is kept, ``blocks`` how it lies in the file and is read back from a damaged
one, ``secrets`` what is never kept, ``files`` how files are named and which must go.
"""

from bus.capture.blocks import MAGIC as MAGIC
from bus.capture.blocks import BlockEncoder as BlockEncoder
from bus.capture.blocks import CaptureError as CaptureError
from bus.capture.blocks import Cut as Cut
from bus.capture.blocks import Decoder as Decoder
from bus.capture.records import CAUSE as CAUSE
from bus.capture.records import Again as Again
from bus.capture.records import Closed as Closed
from bus.capture.records import Exchange as Exchange
from bus.capture.records import Frame as Frame
from bus.capture.records import Head as Head
from bus.capture.records import Hole as Hole
from bus.capture.records import Opened as Opened
from bus.capture.records import Record as Record
from bus.capture.records import Sent as Sent
