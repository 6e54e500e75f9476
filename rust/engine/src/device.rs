//! Where a model runs and in which type its weights are held.

use candle_core::{DType, Device};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A kind of device that can be asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// Metal on macOS when this build has it, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// Apple's GPU.
    Metal,
    /// The first NVIDIA GPU.
    Cuda,
}

/// A type of weights that can be asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// F16 on Metal, BF16 on CUDA, F32 on the CPU, where weights that a file holds in fewer bits keep 8 or 16 of them.
    #[default]
    Auto,
    /// 32 bits; of weights that a folder holds in fewer bits, too, so that nothing is rounded.
    F32,
    /// 16 bits, 5 of them exponent.
    F16,
    /// 16 bits, 8 of them exponent.
    Bf16,
}

impl DeviceKind {
    /// Opens the device.
    ///
    /// # Errors
    /// [`Error::DeviceUnavailable`] when this build was made without it, or when there is none.
    pub fn open(self) -> Result<Device> {
        match self {
            DeviceKind::Auto if cfg!(all(target_os = "macos", feature = "metal")) => {
                DeviceKind::Metal.open()
            }
            DeviceKind::Auto | DeviceKind::Cpu => Ok(Device::Cpu),
            DeviceKind::Metal if !cfg!(feature = "metal") => Err(lacks("metal")),
            DeviceKind::Cuda if !cfg!(feature = "cuda") => Err(lacks("cuda")),
            DeviceKind::Metal => Device::new_metal(0).map_err(|e| unavailable("metal", &e)),
            DeviceKind::Cuda => Device::new_cuda(0).map_err(|e| unavailable("cuda", &e)),
        }
    }
}

fn lacks(device: &str) -> Error {
    Error::DeviceUnavailable {
        device: device.into(),
        reason: format!("this build of the native library was made without {device}"),
    }
}

fn unavailable(device: &str, error: &candle_core::Error) -> Error {
    Error::DeviceUnavailable {
        device: device.into(),
        reason: error.to_string(),
    }
}

/// The name of an opened device, as it stands in results.
pub fn device_name(device: &Device) -> &'static str {
    match device {
        Device::Cpu => "cpu",
        Device::Cuda(_) => "cuda",
        Device::Metal(_) => "metal",
    }
}

impl Precision {
    /// The type that a folder is computed in on `device`. `CANDLE_FORCE_F32=1` overrides every choice.
    pub fn resolve(self, device: &Device) -> DType {
        if std::env::var("CANDLE_FORCE_F32").is_ok_and(|v| v == "1" || v == "true") {
            return DType::F32;
        }
        match (self, device) {
            (Precision::F32, _) | (Precision::Auto, Device::Cpu) => DType::F32,
            (Precision::F16, _) | (Precision::Auto, Device::Metal(_)) => DType::F16,
            (Precision::Bf16, _) | (Precision::Auto, Device::Cuda(_)) => DType::BF16,
        }
    }
}

/// The name of a type of weights, as it stands in results.
pub fn precision_name(dtype: DType) -> &'static str {
    dtype.as_str()
}
