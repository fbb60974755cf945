"""Secrets as they really look, made up, each with the part that must never be seen again."""

PLANTED = {
    "slack webhook": (
        "https://hooks.slack.com/services/T0PLANT11/B0PLANT22/pLaNtEdSeCrEt0123456789",
        "pLaNtEdSeCrEt0123456789",
    ),
    "database url": ("postgresql://app:hunter22plus@db.example:5432/app", "hunter22plus"),
    "libpq words": ("host=db.example user=app password=hunter33plus", "hunter33plus"),
    "slack token": ("xoxb-1122334455-plantedplantedplanted", "plantedplantedplanted"),
    "resend key": ("re_9PlantEd_9abcdefghijklmnop", "9PlantEd_9abcdefghijklmnop"),
    "webhook secret": ("whsec_cGxhbnRlZHBsYW50ZWRwbGFudGVk", "cGxhbnRlZHBsYW50ZWRwbGFudGVk"),
    "postmark token": ("3f0c1d2e-9a8b-4c7d-8e6f-0a1b2c3d4e5f", "9a8b-4c7d-8e6f"),
    "hex key": ("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b", "9f86d081884c7d65"),
    "jwt": ("eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoicGxhbnRlZCJ9.c2ln", "cGxhbnRlZCJ9"),
    "supabase key": ("sb_secret_pLanted0pLanted1pLanted", "pLanted0pLanted1"),
    "discord webhook": (
        "https://discord.com/api/webhooks/1234567890/planted-discord-part",
        "planted-discord-part",
    ),
    "private key": ("-----BEGIN PRIVATE KEY-----MIIEplantedkey", "MIIEplantedkey"),
}
TEXTS = [text for text, _ in PLANTED.values()]
NEEDLES = [needle for _, needle in PLANTED.values()]


def leaks(*texts):
    """The planted parts that show up in any of the texts."""
    return [needle for needle in NEEDLES for text in texts if needle in text]
