"""Passwords that are tried first and are long enough to be allowed otherwise, without spaces and signs, in lower case.

Made of what heads the public lists of leaked passwords, spelled out to twelve characters and more.
"""

from __future__ import annotations

_TEXT = """
passwordpassword password1234 password12345 password123456 passwordpassword1 mypassword123 changeme1234 changemenow
changemeplease letmeinletmein letmein12345 welcome12345 welcomewelcome adminadminadmin administrator administrator1
qwertyqwerty qwertyuiop12 qwertyuiop123 qwertyuiopasdf qwerty123456 qwerty1234567 qwertyuiopasdfgh asdfghjkl123
asdfghjklasdfghjkl zxcvbnmzxcvbnm 1q2w3e4r5t6y 1q2w3e4r5t6y7u 1qaz2wsx3edc 1qaz2wsx3edc4rfv q1w2e3r4t5y6
123456789012 1234567890123 12345678901234 123456789012345 1234567890123456 012345678901 123123123123 123456123456
1234567891011 111222333444 112233445566 987654321098 098765432109 987654321987654321 abc123abc123 abcd12345678
abcdefghijkl abcdefghijklm abcdefghijklmnop abcabcabcabc iloveyou1234 iloveyouiloveyou iloveyouforever trustnoone12
correcthorsebatterystaple sunshine1234 princess1234 football1234 baseball1234 superman1234 batman123456 monkeymonkey
dragondragon masterpassword secretsecret secretpassword supersecret supersecret1 topsecret123 p4ssw0rd1234
passw0rd1234 p455w0rd1234 passwort1234 passwortpasswort contrasena12 contrasena123 motdepasse12 motdepasse123
senha1234567 hallohallohallo testtesttest test12345678 test123456789 testing12345 guestguestguest rootrootroot
useruseruser default12345 temporary123 temppassword llmosllmosllmos llmosliteadmin llmoslite1234 llmospassword
"""
COMMON = frozenset(_TEXT.split())
