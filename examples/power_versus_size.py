"""PEB against the transmit power for three sizes of the surface. Run: python FILE; about 10 s."""

import matplotlib.pyplot as plt

import heliostat as hs

axes = {"base_station.power": "10..40 dBm in 7", "surface.rows, surface.columns": [8, 16, 32]}
data = hs.sweep("factory-hall", axes, ["pose_bounds.peb"])
for size, peb in data["pose_bounds.peb"].isel(trial=0).groupby("surface.rows"):
    plt.semilogy(data["base_station.power_dbm"], 1e3 * peb.squeeze(), label=f"{size} x {size}")
plt.gca().set(xlabel="transmit power [dBm]", ylabel="position error bound (PEB) [mm]")
plt.legend(title="elements of the surface")
plt.savefig("power-versus-size.png")
