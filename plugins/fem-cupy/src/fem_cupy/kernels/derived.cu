// Post-processing: velocity, speed and pressure of each element.
#include "common.cuh"
#include "element.cuh"

// v = -∇u at velocity[2 e] and [2 e + 1], |∇u|, each the mean over the 2x2 Gauss points, and p0 - ½ρ speed². n = M.
// Moves 32 M + 24 N bytes in and 32 M out.
extern "C" __global__ void __launch_bounds__(BLOCK)
    element_derived(int n, const double *__restrict__ x, const double *__restrict__ y, const int *__restrict__ quad8,
                    const double *__restrict__ u, double p0, double half_rho, double *__restrict__ velocity,
                    double *__restrict__ speed, double *__restrict__ pressure)
{
    const int e = thread();
    if (e >= n)
        return;
    constexpr double S = 0.5773502691896258; // √(1/3), coordinate of the 2x2 Gauss points
    double cx[8], cy[8], cu[8];
    read(x, quad8 + 8 * e, S, cx);
    read(y, quad8 + 8 * e, S, cy);
    read(u, quad8 + 8 * e, S, cu);
    double v_x = 0, v_y = 0, v = 0;
    UNROLL
    for (int eta = -1; eta <= 1; eta += 2) {
        UNROLL
        for (int xi = -1; xi <= 1; xi += 2) {
            const double x_xi = d_xi(cx, xi, eta), x_eta = d_eta(cx, xi, eta);
            const double y_xi = d_xi(cy, xi, eta), y_eta = d_eta(cy, xi, eta);
            const double u_xi = d_xi(cu, xi, eta), u_eta = d_eta(cu, xi, eta);
            const double det = x_xi * y_eta - x_eta * y_xi; // the scales of ∂u and det J cancel in ∇u
            const double u_x = (y_eta * u_xi - y_xi * u_eta) / det;
            const double u_y = (x_xi * u_eta - x_eta * u_xi) / det;
            v_x -= u_x;
            v_y -= u_y;
            v += sqrt(u_x * u_x + u_y * u_y);
        }
    }
    velocity[2 * e] = v_x / 4;
    velocity[2 * e + 1] = v_y / 4;
    speed[e] = v / 4;
    pressure[e] = p0 - half_rho * (v / 4) * (v / 4);
}
