"""The registry: every family by its name. To add one, write its function and add a line."""

from __future__ import annotations

from uec_vlm.geosynth import (
    angles,
    circle_lengths,
    circles,
    polygons,
    quadrilaterals,
    right_triangles,
    similar,
    trapezoids,
    triangles,
)
from uec_vlm.geosynth.scene import Family

FAMILIES: dict[str, Family] = {
    "right_triangle": Family("right_triangle", "Triangle", "Length", right_triangles.right_triangle),
    "special_right": Family("special_right", "Triangle", "Length", right_triangles.special_right),
    "trigonometry": Family("trigonometry", "Triangle", "Length", right_triangles.trigonometry),
    "altitude": Family("altitude", "Triangle", "Length", right_triangles.altitude),
    "triangle_angles": Family("triangle_angles", "Triangle", "Angle", triangles.triangle_angles),
    "exterior_angle": Family("exterior_angle", "Triangle", "Angle", triangles.exterior_angle),
    "isosceles": Family("isosceles", "Triangle", "Angle", triangles.isosceles),
    "triangle_area": Family("triangle_area", "Triangle", "Area", similar.triangle_area),
    "similar_triangles": Family("similar_triangles", "Triangle", "Length", similar.similar_triangles),
    "side_splitter": Family("side_splitter", "Triangle", "Length", similar.side_splitter),
    "triangle_midsegment": Family("triangle_midsegment", "Triangle", "Length", similar.triangle_midsegment),
    "angle_bisector": Family("angle_bisector", "Triangle", "Length", similar.angle_bisector),
    "vertical_angles": Family("vertical_angles", "Line", "Angle", angles.vertical_angles),
    "linear_pair": Family("linear_pair", "Line", "Angle", angles.linear_pair),
    "parallel_lines": Family("parallel_lines", "Line", "Angle", angles.parallel_lines),
    "circumference": Family("circumference", "Circle", "Length", circles.circumference),
    "circle_area": Family("circle_area", "Circle", "Area", circles.circle_area),
    "central_angle": Family("central_angle", "Circle", "Angle", circles.central_angle),
    "inscribed_angle": Family("inscribed_angle", "Circle", "Angle", circles.inscribed_angle),
    "inscribed_quadrilateral": Family("inscribed_quadrilateral", "Circle", "Angle", circles.inscribed_quadrilateral),
    "arc_length": Family("arc_length", "Circle", "Length", circle_lengths.arc_length),
    "sector_area": Family("sector_area", "Circle", "Area", circle_lengths.sector_area),
    "tangent": Family("tangent", "Circle", "Length", circle_lengths.tangent),
    "two_tangents": Family("two_tangents", "Circle", "Length", circle_lengths.two_tangents),
    "chord": Family("chord", "Circle", "Length", circle_lengths.chord),
    "crossing_chords": Family("crossing_chords", "Circle", "Length", circle_lengths.crossing_chords),
    "tangent_secant": Family("tangent_secant", "Circle", "Length", circle_lengths.tangent_secant),
    "rectangle_area": Family("rectangle_area", "Rectangle", "Area", quadrilaterals.rectangle_area),
    "rectangle_perimeter": Family("rectangle_perimeter", "Rectangle", "Length", quadrilaterals.rectangle_perimeter),
    "rectangle_diagonals": Family("rectangle_diagonals", "Rectangle", "Length", quadrilaterals.rectangle_diagonals),
    "parallelogram_angles": Family(
        "parallelogram_angles", "Parallelogram", "Angle", quadrilaterals.parallelogram_angles
    ),
    "parallelogram_sides": Family("parallelogram_sides", "Parallelogram", "Length", quadrilaterals.parallelogram_sides),
    "parallelogram_area": Family("parallelogram_area", "Parallelogram", "Area", quadrilaterals.parallelogram_area),
    "trapezoid_midsegment": Family("trapezoid_midsegment", "Trapezoid", "Length", trapezoids.trapezoid_midsegment),
    "trapezoid_area": Family("trapezoid_area", "Trapezoid", "Area", trapezoids.trapezoid_area),
    "rhombus_area": Family("rhombus_area", "Rhombus", "Area", trapezoids.rhombus_area),
    "kite_area": Family("kite_area", "Other", "Area", trapezoids.kite_area),
    "quadrilateral_angles": Family("quadrilateral_angles", "Other", "Angle", polygons.quadrilateral_angles),
    "polygon_angles": Family("polygon_angles", "Pentagon", "Angle", polygons.polygon_angles),
    "regular_polygon": Family("regular_polygon", "Other", "Length", polygons.regular_polygon),
}
