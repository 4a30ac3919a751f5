"""How the starter policy that lies in the package was made: a small Qwen2.5-VL, warmed up on generated geometry.

`model.py` builds it with its processor, `sight.py` and `lessons.py` teach it, `parallel.py` descends in several
processes, `report.py` measures it with the real stations, `warm_up.py` does one after the other. Training uses the
result only.
"""
