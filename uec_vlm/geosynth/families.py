"""The registry: every family by its name. To add one, write its function and add a line."""

from __future__ import annotations

from uec_vlm.geosynth.right_triangles import right_triangle
from uec_vlm.geosynth.scene import Family
from uec_vlm.geosynth.triangles import exterior_angle, isosceles, triangle_angles

FAMILIES: dict[str, Family] = {
    "right_triangle": Family("right_triangle", "Triangle", "Length", right_triangle),
    "triangle_angles": Family("triangle_angles", "Triangle", "Angle", triangle_angles),
    "exterior_angle": Family("exterior_angle", "Triangle", "Angle", exterior_angle),
    "isosceles": Family("isosceles", "Triangle", "Angle", isosceles),
}
