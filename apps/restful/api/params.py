"""Parameters that several routes take."""

from typing import Annotated

from fastapi import Query

Wait = Annotated[
    float,
    Query(
        alias="waitTimeSecond",
        ge=0,
        allow_inf_nan=False,
        description="Seconds to hold the answer while there is nothing new to tell: until the session "
        "has ended, a line is there, or there is room. A longer time is cut to the gateway's RESTFUL_MAX_WAIT.",
    ),
]
