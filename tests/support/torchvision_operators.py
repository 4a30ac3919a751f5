# ruff: noqa: E501
"""Declares torchvision's operators (no implementation) just before torchvision is first imported."""

import importlib.abc
import sys

_PS = "SymInt pooled_height, SymInt pooled_width"
_DEFORM = (
    "SymInt stride_h, SymInt stride_w, SymInt pad_h, SymInt pad_w, SymInt dilation_h, SymInt dilation_w, "
    "SymInt groups, SymInt offset_groups, bool use_mask"
)
_BCHW = "SymInt batch_size, SymInt channels, SymInt height, SymInt width"
OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    f"roi_align(Tensor input, Tensor rois, float spatial_scale, {_PS}, int sampling_ratio, bool aligned) -> Tensor",
    f"_roi_align_backward(Tensor grad, Tensor rois, float spatial_scale, {_PS}, {_BCHW}, int sampling_ratio, bool aligned) -> Tensor",
    f"ps_roi_align(Tensor input, Tensor rois, float spatial_scale, {_PS}, int sampling_ratio) -> (Tensor, Tensor)",
    f"_ps_roi_align_backward(Tensor grad, Tensor rois, Tensor channel_mapping, float spatial_scale, {_PS}, int sampling_ratio, {_BCHW}) -> Tensor",
    f"roi_pool(Tensor input, Tensor rois, float spatial_scale, {_PS}) -> (Tensor, Tensor)",
    f"_roi_pool_backward(Tensor grad, Tensor rois, Tensor argmax, float spatial_scale, {_PS}, {_BCHW}) -> Tensor",
    f"ps_roi_pool(Tensor input, Tensor rois, float spatial_scale, {_PS}) -> (Tensor, Tensor)",
    f"_ps_roi_pool_backward(Tensor grad, Tensor rois, Tensor channel_mapping, float spatial_scale, {_PS}, {_BCHW}) -> Tensor",
    f"deform_conv2d(Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, {_DEFORM}) -> Tensor",
    f"_deform_conv2d_backward(Tensor grad, Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, {_DEFORM}) "
    "-> (Tensor, Tensor, Tensor, Tensor, Tensor)",
)


class DeclareBeforeTorchvision(importlib.abc.MetaPathFinder):
    library = None

    def find_spec(self, name, path=None, target=None):
        if name == "torchvision":
            sys.meta_path.remove(self)
            import torch

            DeclareBeforeTorchvision.library = torch.library.Library("torchvision", "DEF")
            for operator in OPERATORS:
                DeclareBeforeTorchvision.library.define(operator)
        return None


sys.meta_path.insert(0, DeclareBeforeTorchvision())
