"""The distillation loss and each equation it is made of, on any Array API library."""

from dynamic_kd.losses._cross_entropy import cross_entropy as cross_entropy
from dynamic_kd.losses._dynamic_kd_loss import DynamicKDLoss as DynamicKDLoss
from dynamic_kd.losses._dynamic_kd_terms import DynamicKDTerms as DynamicKDTerms
from dynamic_kd.losses._dynamic_weight import dynamic_weight as dynamic_weight
from dynamic_kd.losses._eliminate_noise import eliminate_noise as eliminate_noise
from dynamic_kd.losses._logits_from_probabilities import logits_from_probabilities as logits_from_probabilities
from dynamic_kd.losses._probability_shift import probability_shift as probability_shift
from dynamic_kd.losses._soft_iou import soft_iou as soft_iou
from dynamic_kd.losses._temperature_kl import temperature_kl as temperature_kl
