"""An SMTP server for tests: writes one JSON line for each mail.

smtp.py PORT FILE                 plain
smtp.py PORT FILE CERT KEY        STARTTLS and a login are required (user god, password pw)
smtp.py PORT FILE CERT KEY tls    TLS from the first byte on
"""
import json, signal, ssl, sys
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
connections = 0
greylisted = set()


class Sink:
    async def handle_EHLO(self, server, session, envelope, hostname, responses):
        global connections
        connections += 1
        session.host_name = hostname
        return responses

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("reject@"):
            return "550 no such user"
        if address.startswith("grey@") and address not in greylisted:
            greylisted.add(address)
            return "451 come back later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        login = session.auth_data.login.decode() if session.auth_data else None
        mail = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "tls": bool(session.ssl),
            "user": login,
            "connections": connections,
            "data": envelope.content.decode("utf-8", "replace"),
        }
        with open(sys.argv[2], "a") as file:
            file.write(json.dumps(mail) + "\n")
        return "250 accepted"


def authenticate(server, session, envelope, mechanism, data):
    good = data.login == b"god" and data.password == b"pw"
    return AuthResult(success=good, handled=False, auth_data=data)


options = {}
if len(sys.argv) > 3:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(sys.argv[3], sys.argv[4])
    if len(sys.argv) > 5:
        options = dict(ssl_context=context)
    else:
        options = dict(
            tls_context=context, auth_required=True, auth_require_tls=True, authenticator=authenticate
        )
controller = Controller(Sink(), hostname="127.0.0.1", port=int(sys.argv[1]), **options)
controller.start()
print("ready", flush=True)
signal.sigwait({signal.SIGTERM, signal.SIGINT})
controller.stop()
