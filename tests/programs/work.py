"""Pure work: hashes, json, regular expressions, big numbers, dictionaries."""

import collections
import hashlib
import json
import re
import zlib

digest = hashlib.sha256()
words = collections.Counter()
with open("words", encoding="ascii") as lines:
    for line in lines:
        digest.update(line.encode())
        words.update(re.findall(r"[a-z]+", line))
print(digest.hexdigest())
text = json.dumps({"words": words, "list": list(range(500))}, sort_keys=True)
print(len(text), zlib.crc32(text.encode()), json.loads(text)["words"]["fault"])
print(sum(i * i for i in range(200000)), pow(3, 5000) % 1000007)
print(sorted({"b": 1, "a": 2}), set("x"), hash("seeded") != 0)
with open("out.json", "w", encoding="ascii") as out:
    out.write(text)
