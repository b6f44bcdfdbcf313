import httpx
from common import HEADERS, SILENCE, URL, pause, take
from httpx_sse import connect_sse

last = "0"
while True:
    try:
        with httpx.Client(timeout=SILENCE, headers=HEADERS) as client:
            with connect_sse(client, "GET", URL, headers={"Last-Event-ID": last}) as source:
                source.response.raise_for_status()
                for event in source.iter_sse():
                    take(event.event, event.data)
                    last = event.id or last
    except httpx.HTTPStatusError as refusal:
        if refusal.response.status_code < 500:
            raise
    except httpx.TransportError:
        pass
    pause()
