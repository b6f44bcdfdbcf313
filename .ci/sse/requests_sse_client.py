from common import HEADERS, SILENCE, URL, pause, take
from requests import RequestException
from requests_sse import EventSource, InvalidStatusCodeError

last = "0"
while True:
    try:
        with EventSource(URL, headers=dict(HEADERS), latest_event_id=last, timeout=SILENCE) as source:
            for event in source:
                take(event.type, event.data)
                last = event.last_event_id or last
    except InvalidStatusCodeError as refusal:
        if refusal.status_code < 500:
            raise
    except RequestException:
        pass
    pause()
