"""A handler for aiosmtpd that takes a mail at the third attempt, as a server with a greylist may."""

from email import message_from_bytes


class Greylist:
    """Writes what it answers to a file, a line each: 450 to the recipient, then to the text, then 250."""

    def __init__(self, log, attempts):
        self.log, self.attempts, self.tried = log, int(attempts), 0

    @classmethod
    def from_cli(cls, parser, log, attempts="3"):
        return cls(log, attempts)

    def answer(self, answer, recipient, text=b""):
        headers = message_from_bytes(text)
        said = [answer[:3], recipient, headers["To"] or "-", headers["Message-ID"] or "-"]
        with open(self.log, "a") as log:
            print(*said, file=log)
        return answer

    async def handle_RCPT(self, server, session, envelope, address, options):
        self.tried += 1
        if self.tried < self.attempts - 1:
            return self.answer("450 4.2.0 come back later", address)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        again = self.tried < self.attempts
        answer = "450 4.3.0 come back later" if again else "250 OK"
        return self.answer(answer, envelope.rcpt_tos[0], envelope.content)
